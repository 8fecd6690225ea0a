{{/*
The pod of a component: dict "root" $ "part" "auth" "component" ….
*/}}
{{- define "telemed.podTemplate" -}}
metadata:
  labels:
    {{- include "telemed.labels" (merge (dict "labels" .component.podLabels) .) | nindent 4 }}
  annotations:
    {{- include "telemed.podAnnotations" . | nindent 4 }}
spec:
  {{- $account := dict "serviceAccountName" (include "telemed.serviceAccountName" .) }}
  {{- include "telemed.podFields" (merge $account .) | nindent 2 }}
  terminationGracePeriodSeconds: {{ include "telemed.gracePeriodSeconds" . }}
  {{- with include "telemed.spread" . }}
  topologySpreadConstraints:
    {{- trim . | nindent 4 }}
  {{- end }}
  {{- with .component.extraInitContainers }}
  initContainers:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ .part }}
      {{- include "telemed.container" . | nindent 6 }}
    {{- with .component.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
    {{- include "telemed.tmpVolume" .component | nindent 4 }}
    {{- with include "telemed.keyVolumes" . }}
    {{- trim . | nindent 4 }}
    {{- end }}
    {{- with .component.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{/*
The checksum says with which configuration a pod was started. What is in a Secret no chart can see: `secretsRevision` stands for
it.
*/}}
{{- define "telemed.podAnnotations" -}}
{{- $configuration := list (include "telemed.environment" .) .root.Values.keys .root.Values.secretsRevision -}}
{{- $own := dict "checksum/config" (toJson $configuration | sha256sum) "kubectl.kubernetes.io/default-container" .part -}}
{{- merge $own .component.podAnnotations | toYaml -}}
{{- end -}}

{{/* Its container, but for the name. */}}
{{- define "telemed.container" -}}
{{- include "telemed.containerFields" . }}
{{- with .component.command }}
command:
  {{- toYaml . | nindent 2 }}
{{- end }}
args:
  {{- toYaml .component.args | nindent 2 }}
env:
  {{- include "telemed.environment" . | nindent 2 }}
ports:
  {{- if .component.http }}
  - {name: http, containerPort: 3000, protocol: TCP}
  {{- end }}
  - {name: management, containerPort: 9000, protocol: TCP}
startupProbe:
  {{- include "telemed.probe" .component.probes.startup | nindent 2 }}
livenessProbe:
  {{- include "telemed.probe" .component.probes.liveness | nindent 2 }}
readinessProbe:
  {{- include "telemed.probe" .component.probes.readiness | nindent 2 }}
lifecycle:
  {{- /* The kubelet sleeps, so the image needs no shell. */}}
  preStop:
    sleep:
      seconds: {{ .component.preStopSeconds }}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  {{- with include "telemed.keyMounts" . }}
  {{- trim . | nindent 2 }}
  {{- end }}
  {{- with .component.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}
