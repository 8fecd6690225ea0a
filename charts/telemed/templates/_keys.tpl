{{/*
Key files for tokens: where they are mounted and what the application is told of them.
*/}}

{{/* Variables that name key files, as JSON; none where tokens are signed with a shared secret. */}}
{{- define "telemed.keyFiles" -}}
{{- $names := dict -}}
{{- if include "telemed.hasKeys" . -}}
{{- $files := list -}}
{{- range .root.Values.keys.verification.files -}}
{{- $files = append $files (printf "/etc/telemed/verification-keys/%s" .) -}}
{{- end -}}
{{- $_ := set $names "JWT_PUBLIC_KEY_FILES" (join "," $files) -}}
{{- end -}}
{{- if include "telemed.signs" . -}}
{{- $_ := set $names "JWT_PRIVATE_KEY_FILE" (printf "/etc/telemed/signing-key/%s" .root.Values.keys.signing.file) -}}
{{- end -}}
{{- toJson $names -}}
{{- end -}}

{{/* Whether a component holds the private key. */}}
{{- define "telemed.signs" -}}
{{- .component.signs | ternary (include "telemed.hasKeys" .) "" -}}
{{- end -}}

{{/* Volumes with the keys. Only the files that are named: a Secret may hold more. */}}
{{- define "telemed.keyVolumes" -}}
{{- if include "telemed.hasKeys" . }}
- name: verification-keys
  secret:
    secretName: {{ .root.Values.keys.verification.name }}
    defaultMode: 0440
    items:
      {{- range .root.Values.keys.verification.files }}
      - {key: {{ . }}, path: {{ . }}}
      {{- end }}
{{- end }}
{{- if include "telemed.signs" . }}
- name: signing-key
  secret:
    secretName: {{ .root.Values.keys.signing.name }}
    defaultMode: 0440
    items:
      - {key: {{ .root.Values.keys.signing.file }}, path: {{ .root.Values.keys.signing.file }}}
{{- end }}
{{- end -}}

{{/* Where they are mounted. */}}
{{- define "telemed.keyMounts" -}}
{{- if include "telemed.hasKeys" . }}
- {name: verification-keys, mountPath: /etc/telemed/verification-keys, readOnly: true}
{{- end }}
{{- if include "telemed.signs" . }}
- {name: signing-key, mountPath: /etc/telemed/signing-key, readOnly: true}
{{- end }}
{{- end -}}
