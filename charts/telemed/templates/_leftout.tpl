{{/*
What a component does without because its values say so. It stands on the Deployment, so that whoever looks at the cluster
(and tests/charts/invariants) can tell what was left out on purpose from what was lost.
*/}}

{{/* The annotation, as JSON; empty when nothing is left out: dict "root" $ "part" "auth" "component" …. */}}
{{- define "telemed.leftOut" -}}
{{- $component := .component -}}
{{- $fewest := eq $component.autoscaling.mode "none" | ternary $component.replicas $component.autoscaling.minReplicas -}}
{{- $drain := include "telemed.settings" . | fromJson | dig "DRAIN_SECONDS" 3.0 | float64 -}}
{{- $isAbrupt := or (lt (int $component.preStopSeconds) 5) (lt $drain 3.0) (lt (int $component.rollout.minReadySeconds) 1) -}}
{{- $hasOwnEdges := or $component.networkPolicy.extraIngress $component.networkPolicy.extraEgress | empty | not -}}
{{- $without := dict "network-policy" (not .root.Values.networkPolicy.enabled) "drain" $isAbrupt "edges" $hasOwnEdges -}}
{{- $_ := set $without "disruption-budget" (not $component.disruption.enabled) -}}
{{- $_ := set $without "second-replica" (lt (int $fewest) 2) -}}
{{- $_ := set $without "node-spread" (eq $component.spread.node "none") -}}
{{- $_ := set $without "zone-spread" (eq $component.spread.zone "none") -}}
{{- $_ := set $without "variables" (gt (len $component.extraEnv) 0) -}}
{{- $words := list -}}
{{- range $word, $isLeftOut := $without -}}
{{- $words = $isLeftOut | ternary (append $words $word) $words -}}
{{- end -}}
{{- $words | empty | ternary dict (dict "telemed.local/left-out" (join "," $words)) | toJson -}}
{{- end -}}
