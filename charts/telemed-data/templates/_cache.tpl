{{/* What the cache is called. */}}

{{- define "telemed-data.cacheName" -}}
{{- printf "%s-cache" (include "telemed-data.fullname" .) -}}
{{- end -}}

{{/* What REDIS_URL is to say; the password stays out. */}}
{{- define "telemed-data.cacheUrl" -}}
{{- $host := printf "%s.%s.svc" (include "telemed-data.cacheName" .) .Release.Namespace -}}
{{- $urls := dict "external" "(that of the managed cache)" -}}
{{- $_ := set $urls "standalone" (printf "redis://:…@%s:6379/0" $host) -}}
{{- $_ := set $urls "cluster" (printf "redis+cluster://:…@%s:6379" $host) -}}
{{- $_ := set $urls "sentinel" (printf "redis+sentinel://:…@%s-sentinel.%s.svc:26379/telemed" (include "telemed-data.cacheName" .) .Release.Namespace) -}}
{{- index $urls .Values.cache.mode -}}
{{- end -}}
