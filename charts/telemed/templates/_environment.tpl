{{/*
What a process is told. Settings are plain variables and no ConfigMap: a ReplicaSet then holds all that its pods were started
with, a rollback brings the settings back too, and a migration before the release needs no object of the release.
*/}}

{{/* A setting as text: lists by commas, numbers as they were written (Go would print 2592000 as 2.592e+06). */}}
{{- define "telemed.text" -}}
{{- if kindIs "slice" . -}}
{{- join "," . | quote -}}
{{- else if kindIs "string" . -}}
{{- quote . -}}
{{- else -}}
{{- toJson . | quote -}}
{{- end -}}
{{- end -}}

{{/* Every variable of a component's container: dict "root" $ "part" "auth" "component" …. */}}
{{- define "telemed.environment" -}}
- name: PORT
  value: "3000"
- name: MANAGEMENT_PORT
  value: "9000"
{{- range $name, $value := include "telemed.settings" . | fromJson }}
- name: {{ $name }}
  value: {{ include "telemed.text" $value }}
{{- end }}
{{- range $name, $file := include "telemed.keyFiles" . | fromJson }}
- name: {{ $name }}
  value: {{ $file }}
{{- end }}
{{- range $name := include "telemed.secretNames" . | fromJsonArray }}
{{ include "telemed.secretVariable" (dict "root" $.root "name" $name) }}
{{- end }}
{{- range $name, $value := .component.extraEnv }}
- name: {{ $name }}
  value: {{ quote $value }}
{{- end }}
{{- end -}}

{{/* One variable from a Secret: dict "root" $ "name" "DATABASE_URL", and perhaps "optional" true. */}}
{{- define "telemed.secretVariable" -}}
{{- $from := get .root.Values.secrets .name -}}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ $from.name }}
      key: {{ $from.key }}
{{- if .optional }}
      optional: true
{{- end }}
{{- end -}}

{{/* Names of the secret variables that a component gets, as JSON. The shared secret of tokens only where it signs them. */}}
{{- define "telemed.secretNames" -}}
{{- $wanted := dict -}}
{{- range $name, $given := .component.secrets -}}
{{- $_ := set $wanted $name $given -}}
{{- end -}}
{{- $_ := set $wanted "JWT_SECRET" (include "telemed.hasKeys" . | empty) -}}
{{- $names := list -}}
{{- range $name, $given := $wanted -}}
{{- $names = $given | ternary (append $names $name) $names -}}
{{- end -}}
{{- toJson $names -}}
{{- end -}}

{{/* Whether tokens are signed with key files; nothing if with a shared secret. */}}
{{- define "telemed.hasKeys" -}}
{{- $settings := include "telemed.settings" . | fromJson -}}
{{- eq $settings.JWT_ALGORITHM "EdDSA" | ternary "true" "" -}}
{{- end -}}
