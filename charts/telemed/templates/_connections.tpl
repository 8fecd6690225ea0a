{{/*
How many connections all processes can open at once, by pooler, as JSON: {"rw": …, "ro": …}. Of each address a process has a pool
and one connection that looks whether the server is well; during an update there may be twice as many processes, as those that
end still finish.
*/}}
{{- define "telemed.clientConnections" -}}
{{- $sum := dict "rw" 0 "ro" 0 -}}
{{- range $name, $component := include "telemed.components" . | fromJson -}}
{{- $part := dict "root" $ "component" $component -}}
{{- $settings := include "telemed.settings" $part | fromJson -}}
{{- $isFixed := eq $component.autoscaling.mode "none" -}}
{{- $processes := $isFixed | ternary $component.replicas $component.autoscaling.maxReplicas | int -}}
{{- $each := mul 2 $processes (add 1 ($settings.DATABASE_POOL_SIZE | int)) -}}
{{- range $secret := include "telemed.secretNames" $part | fromJsonArray -}}
{{- $pooler := get (include "telemed.poolerOf" $ | fromJson) $secret | default "none" -}}
{{- $addresses := eq $pooler "ro" | ternary $.Values.database.replicaAddresses 1 | int -}}
{{- $_ := set $sum $pooler (add (get $sum $pooler | default 0) (mul $each $addresses)) -}}
{{- end -}}
{{- end -}}
{{- omit $sum "none" | toJson -}}
{{- end -}}

{{/* Which pooler each address leads to. */}}
{{- define "telemed.poolerOf" -}}
{{- dict "DATABASE_URL" "rw" "AUDITOR_DATABASE_URL" "rw" "WORKER_DATABASE_URL" "rw" "REPLICA_DATABASE_URLS" "ro" | toJson -}}
{{- end -}}
