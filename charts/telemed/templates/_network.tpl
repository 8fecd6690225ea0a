{{/*
Rules of network policies, by what they are for. An edge that nobody is named for gives no rule: then nobody is allowed.
*/}}

{{/* Egress to the name servers. */}}
{{- define "telemed.toDns" -}}
{{- with .Values.networkPolicy.dns.to }}
- to:
    {{- toYaml . | nindent 4 }}
  ports:
    - {port: {{ $.Values.networkPolicy.dns.port }}, protocol: UDP}
    - {port: {{ $.Values.networkPolicy.dns.port }}, protocol: TCP}
{{- end }}
{{- end -}}

{{/* Egress by TCP: dict "to" [peers] "ports" [numbers]. */}}
{{- define "telemed.toPeers" -}}
{{- with .to }}
- to:
    {{- toYaml . | nindent 4 }}
  ports:
    {{- range $.ports }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
{{- end }}
{{- end -}}

{{/* Ingress by TCP: dict "from" [peers] "port" 3000. */}}
{{- define "telemed.fromPeers" -}}
{{- with .from }}
- from:
    {{- toYaml . | nindent 4 }}
  ports:
    - {port: {{ $.port }}, protocol: TCP}
{{- end }}
{{- end -}}

{{/* Pods of one part of this release, as a peer, in this namespace: dict "root" $ "part" "test". */}}
{{- define "telemed.peer" -}}
- podSelector:
    matchLabels:
      {{- include "telemed.selector" . | nindent 6 }}
{{- end -}}

{{/* What a component lets in: dict "root" $ "component" …. */}}
{{- define "telemed.ingress" -}}
{{- $policy := .root.Values.networkPolicy -}}
{{- $test := include "telemed.peer" (dict "root" .root "part" "test") | fromYamlArray -}}
{{- if .component.http }}
{{- include "telemed.fromPeers" (dict "from" $policy.gateways "port" 3000) }}
{{- include "telemed.fromPeers" (dict "from" (include "telemed.hasTest" .root | empty | ternary list $test) "port" 3000) }}
{{- end }}
{{- include "telemed.fromPeers" (dict "from" $policy.monitoring "port" 9000) }}
{{- with .component.networkPolicy.extraIngress }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/*
Where a component may go: dict "root" $ "component" …. An edge for each address that it gets, and none for others.
Components do not talk to each other: what they share is in the database.
*/}}
{{- define "telemed.egress" -}}
{{- $policy := .root.Values.networkPolicy -}}
{{- $given := include "telemed.secretNames" . | fromJsonArray -}}
{{- $settings := include "telemed.settings" . | fromJson -}}
{{- $isPrimary := or (has "DATABASE_URL" $given) (has "AUDITOR_DATABASE_URL" $given) (has "WORKER_DATABASE_URL" $given) -}}
{{- $isCache := or (has "REDIS_URL" $given) (hasKey $settings "REDIS_HOST") -}}
{{- include "telemed.toDns" .root }}
{{- if $isPrimary }}
{{- include "telemed.toPeers" (dict "to" $policy.poolerRw.to "ports" (list $policy.poolerRw.port)) }}
{{- end }}
{{- if has "REPLICA_DATABASE_URLS" $given }}
{{- include "telemed.toPeers" (dict "to" $policy.poolerRo.to "ports" (list $policy.poolerRo.port)) }}
{{- end }}
{{- if $isCache }}
{{- include "telemed.toPeers" (dict "to" $policy.cache.to "ports" $policy.cache.ports) }}
{{- end }}
{{- if get $settings "OTEL_EXPORTER_OTLP_ENDPOINT" }}
{{- include "telemed.toPeers" (dict "to" $policy.collector.to "ports" (list $policy.collector.port)) }}
{{- end }}
{{- with .component.networkPolicy.extraEgress }}
{{ toYaml . }}
{{- end }}
{{- end -}}
