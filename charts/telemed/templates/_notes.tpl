{{/*
What NOTES.txt says of how requests come in.
*/}}
{{- define "telemed.wayIn" -}}
{{- if .Values.route.enabled -}}
Requests come in by the Gateway: {{ join ", " .Values.route.hostnames }}
{{- else if .Values.ingress.enabled -}}
Requests come in by the Ingress: {{ join ", " .Values.ingress.hosts }}
{{- else -}}
No request comes in from outside (route.enabled and ingress.enabled are false). From here, service by service:
{{- range $name, $component := include "telemed.components" . | fromJson }}
{{- if $component.http }}
  kubectl -n {{ $.Release.Namespace }} port-forward service/{{ include "telemed.nameOf" (dict "root" $ "part" $name) }} 3000
{{- end }}
{{- end }}
{{- end -}}
{{- end -}}
