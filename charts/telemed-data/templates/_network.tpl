{{/* Parts of NetworkPolicies: who stands at the other end, and on which ports. */}}

{{- define "telemed-data.policy" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ include "telemed-data.fullname" (index . 0) }}-{{ index . 1 }}
  namespace: {{ (index . 0).Release.Namespace }}
  labels:
    {{- include "telemed-data.labels" . | nindent 4 }}
{{- end -}}

{{/* The servers, and the jobs with which the operator makes them; poolers carry the cluster's label as well. */}}
{{- define "telemed-data.instances" -}}
matchExpressions:
  - {key: cnpg.io/cluster, operator: In, values: [{{ include "telemed-data.fullname" . }}]}
  - {key: cnpg.io/poolerName, operator: DoesNotExist}
{{- end -}}

{{- define "telemed-data.poolerPods" -}}
matchExpressions:
  - key: cnpg.io/poolerName
    operator: In
    values: [{{ include "telemed-data.fullname" . }}-pooler-rw, {{ include "telemed-data.fullname" . }}-pooler-ro]
{{- end -}}

{{/* What the cache's servers say to one another: replication, and in a cluster its bus. */}}
{{- define "telemed-data.cachePorts" -}}
{{- include "telemed-data.ports" (ternary (list 6379 16379) (list 6379) (eq .Values.cache.mode "cluster")) -}}
{{- end -}}

{{- define "telemed-data.namespaceOf" -}}
namespaceSelector:
  matchLabels:
    kubernetes.io/metadata.name: {{ . }}
{{- end -}}

{{/* Pods with these labels in this namespace: (namespace, labels). */}}
{{- define "telemed-data.podsOf" -}}
{{ include "telemed-data.namespaceOf" (index . 0) }}
podSelector:
  matchLabels:
    {{- toYaml (index . 1) | nindent 4 }}
{{- end -}}

{{- define "telemed-data.ports" -}}
{{- $ports := list -}}
{{- range . -}}
{{- $ports = append $ports (dict "port" . "protocol" "TCP") -}}
{{- end -}}
{{- toYaml $ports -}}
{{- end -}}

{{- define "telemed-data.toDns" -}}
- to:
    - {{ include "telemed-data.podsOf" (list .Values.networkPolicy.dns.namespace .Values.networkPolicy.dns.labels) | indent 6 | trim }}
  ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
{{- end -}}

{{/* To addresses outside of the cluster's pods: {cidrs, ports}. */}}
{{- define "telemed-data.toAddresses" -}}
- to:
    {{- range .cidrs }}
    - ipBlock:
        cidr: {{ . }}
    {{- end }}
  ports:
    {{- include "telemed-data.ports" .ports | nindent 4 }}
{{- end -}}

{{- define "telemed-data.toObjectStore" -}}
{{- if or .Values.backup.enabled .Values.restore.enabled -}}
{{- include "telemed-data.toAddresses" .Values.networkPolicy.objectStore -}}
{{- end -}}
{{- end -}}

{{/* Between servers and sentinels, where there are any. */}}
{{- define "telemed-data.toSentinels" -}}
{{- if eq .Values.cache.mode "sentinel" -}}
- to:
    - podSelector:
        matchLabels:
          {{- include "telemed-data.selector" (list . "cache-sentinel") | nindent 10 }}
  ports:
    {{- include "telemed-data.ports" (list 26379) | nindent 4 }}
{{- end -}}
{{- end -}}

{{- define "telemed-data.fromSentinels" -}}
{{- if eq .Values.cache.mode "sentinel" -}}
- from:
    - podSelector:
        matchLabels:
          {{- include "telemed-data.selector" (list . "cache-sentinel") | nindent 10 }}
  ports:
    {{- include "telemed-data.ports" (list 6379) | nindent 4 }}
{{- end -}}
{{- end -}}
