{{/*
Names and labels. All names are at most 63 characters long, whatever the release is called.
*/}}

{{/* The chart's name, as label and in selectors. */}}
{{- define "telemed.chartName" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/*
The beginning of every object's name: the release's, with the chart's unless it is in there already. A release's name may have
dots and begin with a digit, a Service's may not.
*/}}
{{- define "telemed.fullname" -}}
{{- $name := include "telemed.chartName" . -}}
{{- $long := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- $plain := regexReplaceAll "^([0-9])" (replace "." "-" $long) "r${1}" -}}
{{- default $plain .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Name of a part: dict "root" $ "part" "auth". Too long a beginning is cut, and told apart from others like it by its hash. */}}
{{- define "telemed.nameOf" -}}
{{- $fullname := include "telemed.fullname" .root -}}
{{- $room := sub 62 (len .part) | int -}}
{{- $short := printf "%s-%s" (trunc (sub $room 9 | int) $fullname | trimSuffix "-") (sha256sum $fullname | trunc 8) -}}
{{- printf "%s-%s" (gt (len $fullname) $room | ternary $short $fullname) .part -}}
{{- end -}}

{{/* What an object is part of: dict "root" $ "part" "auth". Immutable in Deployments, so it holds nothing that changes. */}}
{{- define "telemed.selector" -}}
app.kubernetes.io/name: {{ include "telemed.chartName" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end -}}

{{/* The chart's own labels, the same, and perhaps "component" …. */}}
{{- define "telemed.ownLabels" -}}
{{ include "telemed.selector" . }}
app.kubernetes.io/version: {{ include "telemed.version" . | quote }}
app.kubernetes.io/part-of: telemed
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end -}}

{{/* Labels of objects and pods: dict "root" $ "part" "auth", and perhaps "labels". The chart's own win. */}}
{{- define "telemed.labels" -}}
{{- $own := include "telemed.ownLabels" . | fromYaml -}}
{{- merge $own (.labels | default dict) .root.Values.commonLabels | toYaml -}}
{{- end -}}

{{/* The version as a label can hold it: dict "root" $, and perhaps "component" …. */}}
{{- define "telemed.version" -}}
{{- $image := merge (dict) (dig "component" "image" (dict) .) .root.Values.image -}}
{{- $image.tag | default .root.Chart.AppVersion | replace "+" "_" | trunc 63 | trimAll "-_." -}}
{{- end -}}

{{/*
The metadata of every object: dict "root" $ "part" "auth", and perhaps "labels", "annotations", and "name" if it is not the part's.
*/}}
{{- define "telemed.metadata" -}}
name: {{ .name | default (include "telemed.nameOf" .) }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "telemed.labels" . | nindent 2 }}
  helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 }}
{{- with merge (dict) (.annotations | default dict) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Name of a component's ServiceAccount: dict "root" $ "part" "auth" "component" …. */}}
{{- define "telemed.serviceAccountName" -}}
{{- .component.serviceAccount.name | default (include "telemed.nameOf" .) -}}
{{- end -}}
