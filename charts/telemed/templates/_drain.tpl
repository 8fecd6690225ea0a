{{/*
How long a pod may take to end. One place, from the same settings that the process reads.
*/}}

{{/*
Seconds from "this pod ends" to SIGKILL: dict "root" $ "component" …. preStop, the drain, the grace for what runs, and five
more: two in which the process cuts short what is late (kernel/http/drain.py), the rest for its interpreter.
*/}}
{{- define "telemed.neededSeconds" -}}
{{- $settings := include "telemed.settings" . | fromJson -}}
{{- addf .component.preStopSeconds $settings.DRAIN_SECONDS $settings.SHUTDOWN_GRACE_SECONDS 5 | ceil | int -}}
{{- end -}}

{{/* What the pod gets: what values say, or else what is needed. */}}
{{- define "telemed.gracePeriodSeconds" -}}
{{- .component.terminationGracePeriodSeconds | int | default (include "telemed.neededSeconds" . | int) -}}
{{- end -}}
