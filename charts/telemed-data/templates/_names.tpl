{{/* Names and labels of objects. */}}

{{- define "telemed-data.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 43 | trimSuffix "-" -}}
{{- end -}}

{{/*
The release's name if it says already what this is, otherwise release and chart. Cut at 43: the operator allows 50
characters, and the longest that is appended (-cache-sentinel-2) must fit into a label of 63. A release's name may have dots
and begin with a digit, a Service's may not.
*/}}
{{- define "telemed-data.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- $plain := regexReplaceAll "^([0-9])" (replace "." "-" $full) "r${1}" -}}
{{- default $plain .Values.fullnameOverride | trunc 43 | trimSuffix "-" -}}
{{- end -}}

{{/* Labels of an object; the component is the second of (root, component). */}}
{{- define "telemed-data.labels" -}}
{{- $root := index . 0 -}}
{{ include "telemed-data.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: telemed
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* What identifies pods; never changes. */}}
{{- define "telemed-data.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "telemed-data.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* An image's full name; the digest wins over the tag. */}}
{{- define "telemed-data.image" -}}
{{- $digest := ternary (printf "@%s" .digest) "" (ne .digest "") -}}
{{ .repository }}:{{ .tag }}{{ $digest }}
{{- end -}}

{{/* Labels of a PodMonitor of (root, component): those by which Prometheus selects it win over everybody's. */}}
{{- define "telemed-data.monitorLabels" -}}
{{- $root := index . 0 -}}
{{- merge (deepCopy $root.Values.monitoring.podMonitors.labels) (include "telemed-data.labels" . | fromYaml) | toYaml -}}
{{- end -}}
