{{/*
What the database does without because its values say so. It stands on the Cluster, so that whoever looks at it (and
tests/charts/invariants) can tell what was left out on purpose from what was lost. A single server has nothing to lose.
*/}}

{{/* The words, with commas between them; empty when nothing is left out. */}}
{{- define "telemed-data.leftOut" -}}
{{- $said := .Values.postgres.synchronous -}}
{{- $isStrict := and $said.enabled $said.failoverQuorum (eq $said.method "any") (eq $said.dataDurability "required") -}}
{{- $without := dict "quorum" (not $isStrict) "node-spread" (ne .Values.postgres.affinity.podAntiAffinityType "required") -}}
{{- $_ := set $without "backup" (not .Values.backup.enabled) -}}
{{- $words := list -}}
{{- range $word, $isLeftOut := $without -}}
{{- $words = $isLeftOut | ternary (append $words $word) $words -}}
{{- end -}}
{{- join "," $words -}}
{{- end -}}

{{/* One server has no second, which is what `standalone` means. */}}
{{- define "telemed-data.cacheLeftOut" -}}
{{- ternary "second-replica" "" (eq .Values.cache.mode "standalone") -}}
{{- end -}}
