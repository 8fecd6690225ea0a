{{/*
The migration: one pod that brings the database to the newest revision. As a hook of Helm it runs before anything of the release
is there, so all that it needs (account, network policy) are hooks before it.
*/}}

{{/* Annotations of a hook: dict "root" $ "weight" "-10". Nothing for a plain Job, which is an object like any other. */}}
{{- define "telemed.migrationHook" -}}
{{- if eq .root.Values.migration.mode "hook" -}}
helm.sh/hook: pre-install,pre-upgrade
helm.sh/hook-weight: {{ quote .weight }}
{{- /* What failed stays, to be looked at, until the next attempt. */}}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- /* Helm 4 then prints what the failed pod has said. */}}
helm.sh/hook-output-log-policy: hook-failed
{{- else -}}
{}
{{- end -}}
{{- end -}}

{{/*
Name of the Job. A Job's template cannot be changed, so a plain one is another Job when anything of it changes (new image, other
settings), and the same one, which has run already, when nothing does. A hook is made anew each time.
*/}}
{{- define "telemed.migrationName" -}}
{{- $hash := list .root.Chart.Version (include "telemed.migrationPod" .) | toJson | sha256sum | trunc 8 -}}
{{- $part := eq .root.Values.migration.mode "job" | ternary (printf "migrate-%s" $hash) "migrate" -}}
{{- include "telemed.nameOf" (dict "root" .root "part" $part) -}}
{{- end -}}

{{/* Its pod: dict "root" $ "part" "migrate" "component" …. It knows the owner's login and nothing else. */}}
{{- define "telemed.migrationPod" -}}
metadata:
  labels:
    {{- include "telemed.labels" (merge (dict "labels" .component.podLabels) .) | nindent 4 }}
  {{- with .component.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  restartPolicy: Never
  {{- $account := dict "serviceAccountName" (include "telemed.serviceAccountName" .) }}
  {{- include "telemed.podFields" (merge $account .) | nindent 2 }}
  containers:
    - name: migrate
      {{- include "telemed.containerFields" . | nindent 6 }}
      args: [migrate]
      env:
        - name: ENVIRONMENT
          value: {{ .root.Values.settings.ENVIRONMENT }}
        {{- /* As a hook it would wait in vain for a Secret that nobody makes; without the address it says so and ends. */}}
        {{- $owner := dict "root" .root "name" "OWNER_DATABASE_URL" "optional" (eq .root.Values.migration.mode "hook") }}
        {{- include "telemed.secretVariable" $owner | nindent 8 }}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
  volumes:
    {{- include "telemed.tmpVolume" .component | nindent 4 }}
{{- end -}}
