{{/*
What all our pods have in common: services, worker, migration and tests.
*/}}

{{/* Fields of the pod: dict "root" $ "component" … "serviceAccountName" …. */}}
{{- define "telemed.podFields" -}}
serviceAccountName: {{ .serviceAccountName }}
{{- /* Nothing of ours talks to Kubernetes. */}}
automountServiceAccountToken: false
{{- /* Links would set REDIS_PORT=tcp://… where a Service is called redis, which the application would read. */}}
enableServiceLinks: false
securityContext:
  {{- toYaml .component.podSecurityContext | nindent 2 }}
{{- if .component.userNamespace }}
hostUsers: false
{{- end }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .component.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .component.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- with .component.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .component.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .component.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .component.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Fields of the container: dict "root" $ "component" …. */}}
{{- define "telemed.containerFields" -}}
image: {{ include "telemed.image" . }}
imagePullPolicy: {{ include "telemed.pullPolicy" . }}
securityContext:
  {{- toYaml .component.securityContext | nindent 2 }}
resources:
  {{- include "telemed.resources" .component | nindent 2 }}
{{- end -}}

{{/* Requests as given; the memory limit is the request, and CPU has none. */}}
{{- define "telemed.resources" -}}
requests:
  {{- toYaml .resources.requests | nindent 2 }}
limits:
  {{- toYaml (omit .resources.requests "cpu") | nindent 2 }}
{{- end -}}

{{/* The only place that can be written to. */}}
{{- define "telemed.tmpVolume" -}}
- name: tmp
  emptyDir:
    sizeLimit: {{ .tmp.sizeLimit }}
{{- end -}}

{{/* Over zones and nodes, each version of a Deployment by itself: an update is not placed by what it replaces. */}}
{{- define "telemed.spread" -}}
{{- $keys := dict "zone" "topology.kubernetes.io/zone" "node" "kubernetes.io/hostname" -}}
{{- range $over := list "zone" "node" }}
{{- $when := get $.component.spread $over }}
{{- if ne $when "none" }}
- topologyKey: {{ get $keys $over }}
  maxSkew: 1
  whenUnsatisfiable: {{ $when }}
  {{- /* Nodes that refuse the pods are no reason to keep the others even. */}}
  nodeTaintsPolicy: Honor
  matchLabelKeys: [pod-template-hash]
  labelSelector:
    matchLabels:
      {{- include "telemed.selector" $ | nindent 6 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* One probe, on the management port: dict "path" … "periodSeconds" …. */}}
{{- define "telemed.probe" -}}
httpGet:
  path: {{ .path }}
  port: management
{{ toYaml (omit . "path") }}
{{- end -}}
