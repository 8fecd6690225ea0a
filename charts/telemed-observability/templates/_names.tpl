{{/* Names and labels of objects. */}}

{{- define "telemed-observability.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 43 | trimSuffix "-" -}}
{{- end -}}

{{/* The release's name if it says already what this is, otherwise release and chart; 20 characters are left for parts. */}}
{{- define "telemed-observability.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc 43 | trimSuffix "-" -}}
{{- end -}}

{{/* Name of a part: (root, part). */}}
{{- define "telemed-observability.part" -}}
{{- printf "%s-%s" (include "telemed-observability.fullname" (index . 0)) (index . 1) | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Metadata of an object: (root, part, labels). */}}
{{- define "telemed-observability.metadata" -}}
{{- $root := index . 0 -}}
name: {{ include "telemed-observability.part" . }}
namespace: {{ $root.Release.Namespace }}
labels:
  app.kubernetes.io/name: {{ include "telemed-observability.name" $root }}
  app.kubernetes.io/instance: {{ $root.Release.Name }}
  app.kubernetes.io/component: {{ index . 1 }}
  app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
  app.kubernetes.io/part-of: telemed
  app.kubernetes.io/managed-by: {{ $root.Release.Service }}
  helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
  {{- with merge dict (index . 2) $root.Values.commonLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* What a file is about: its name without folder and ending. */}}
{{- define "telemed-observability.subject" -}}
{{- base . | trimSuffix (ext .) -}}
{{- end -}}
