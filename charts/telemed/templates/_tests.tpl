{{/*
What `helm test` needs to know.
*/}}

{{/* Address of whoever answers a path, inside the cluster: dict "root" $ "path" "/auth". Nothing if nobody does. */}}
{{- define "telemed.address" -}}
{{- with include "telemed.answers" . -}}
{{- printf "http://%s:3000" (include "telemed.nameOf" (dict "root" $.root "part" .)) -}}
{{- end -}}
{{- end -}}

{{/* Options of `telemed smoke`, as JSON: which service is where. */}}
{{- define "telemed.testOptions" -}}
{{- $options := list -}}
{{- range list "auth" "booking" "consultation" -}}
{{- $address := include "telemed.address" (dict "root" $ "path" (printf "/%s" .)) -}}
{{- $options = concat $options (list (printf "--%s" .) $address) -}}
{{- end -}}
{{- toJson $options -}}
{{- end -}}

{{/* Whether there is a test: it needs all three. */}}
{{- define "telemed.hasTest" -}}
{{- $hasAll := not (has "" (include "telemed.testOptions" . | fromJsonArray)) -}}
{{- and .Values.tests.enabled $hasAll | ternary "true" "" -}}
{{- end -}}
