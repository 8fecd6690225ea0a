{{/* The cache: what it is called, who is in it, and its pods. */}}

{{- define "telemed-data.cacheName" -}}
{{- printf "%s-cache" (include "telemed-data.fullname" .) -}}
{{- end -}}

{{/* The headless Service of the servers: POD.<this> is a pod's name, also before it is ready. */}}
{{- define "telemed-data.cacheNodes" -}}
{{- printf "%s-nodes.%s.svc" (include "telemed-data.cacheName" .) .Release.Namespace -}}
{{- end -}}

{{- define "telemed-data.cacheReplicas" -}}
{{- index (dict "standalone" 1 "sentinel" .Values.cache.sentinel.servers "cluster" 6) .Values.cache.mode -}}
{{- end -}}

{{/* What REDIS_URL is to say; the password stays out. */}}
{{- define "telemed-data.cacheUrl" -}}
{{- $password := ternary ":…@" "" .Values.cache.auth.enabled -}}
{{- $host := printf "%s.%s.svc" (include "telemed-data.cacheName" .) .Release.Namespace -}}
{{- $sentinels := list -}}
{{- range $place := until 3 -}}
{{- $sentinels = append $sentinels (printf "%s-sentinel-%d.%s-sentinel.%s.svc:26379" (include "telemed-data.cacheName" $) $place (include "telemed-data.cacheName" $) $.Release.Namespace) -}}
{{- end -}}
{{- $urls := dict "external" "(that of the managed cache)" -}}
{{- $_ := set $urls "standalone" (printf "redis://%s%s:6379/0" $password $host) -}}
{{- $_ := set $urls "cluster" (printf "redis+cluster://%s%s:6379" $password $host) -}}
{{- $_ := set $urls "sentinel" (printf "redis+sentinel://%s%s/telemed" $password (join "," $sentinels)) -}}
{{- index $urls .Values.cache.mode -}}
{{- end -}}

{{/*
Who is in the cluster, as its nodes write it down themselves: three primaries with a third of the slots each, and a replica
of each. Ids are made of namespace and name, so that they are the same whenever a pod is born, and no other cluster's, should an
address come to another cluster's pod.
*/}}
{{- define "telemed-data.cacheMembers" -}}
{{- $scope := printf "%s/%s" .Release.Namespace (include "telemed-data.cacheName" .) -}}
{{- range $place := until 6 -}}
{{- $shard := mod $place 3 -}}
{{- $id := sha1sum (printf "%s/node/%d" $scope $place) -}}
{{- $primary := sha1sum (printf "%s/node/%d" $scope $shard) -}}
{{- $first := div (mul $shard 16384) 3 -}}
{{- $last := sub (div (mul (add $shard 1) 16384) 3) 1 -}}
{{- $isPrimary := lt $place 3 -}}
{{- $part := ternary "master -" (printf "slave %s" $primary) $isPrimary -}}
{{- $slots := ternary (printf " %d-%d" $first $last) "" $isPrimary }}
{{ $id }} :0@0,,tls-port=0,shard-id={{ sha1sum (printf "%s/shard/%d" $scope $shard) }} noaddr,{{ $part }} 0 0 {{ add $shard 1 }} connected{{ $slots }}
{{- end }}
vars currentEpoch 3 lastVoteEpoch 0
{{- end -}}

{{- define "telemed-data.cacheEnvironment" -}}
- name: CONFIG
  value: /etc/cache
- name: DATA
  value: /data
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: POD_IP
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
- name: NODES
  value: {{ include "telemed-data.cacheNodes" . }}
- name: FIRST
  value: {{ include "telemed-data.cacheName" . }}-0.{{ include "telemed-data.cacheNodes" . }}
{{- if eq .Values.cache.mode "sentinel" }}
- name: SENTINELS
  value: {{ include "telemed-data.cacheName" . }}-sentinel {{ include "telemed-data.cacheName" . }}-sentinel.{{ .Release.Namespace }}.svc
{{- end }}
{{- include "telemed-data.cachePassword" . }}
{{- end -}}

{{- define "telemed-data.cachePassword" -}}
{{- if .Values.cache.auth.enabled }}
- name: PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ .Values.cache.auth.secret }}
      key: {{ .Values.cache.auth.key }}
# For valkey-cli, which must not show it among its arguments.
- name: REDISCLI_AUTH
  valueFrom:
    secretKeyRef:
      name: {{ .Values.cache.auth.secret }}
      key: {{ .Values.cache.auth.key }}
{{- end }}
{{- end -}}

{{- define "telemed-data.cacheSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  runAsNonRoot: true
  capabilities:
    drop: [ALL]
{{- end -}}

{{/* A container of the cache's image that runs a script: (root, name, script, resources). */}}
{{- define "telemed-data.cacheContainer" -}}
{{- $root := index . 0 -}}
name: {{ index . 1 }}
image: {{ include "telemed-data.image" $root.Values.cache.image }}
imagePullPolicy: {{ $root.Values.cache.image.pullPolicy }}
command: [sh, /etc/cache/{{ index . 2 }}]
env:
  {{- include "telemed-data.cacheEnvironment" $root | nindent 2 }}
resources:
  {{- toYaml (index . 3) | nindent 2 }}
{{ include "telemed-data.cacheSecurity" $root }}
volumeMounts:
  - {name: config, mountPath: /etc/cache, readOnly: true}
  - {name: data, mountPath: /data}
{{- end -}}

{{/* The sidecar that only a cluster needs. */}}
{{- define "telemed-data.cacheTender" -}}
{{- if eq .Values.cache.mode "cluster" -}}
{{ include "telemed-data.cacheContainer" (list . "tend" "tend.sh" .Values.cache.tendResources) }}
{{- end -}}
{{- end -}}

{{/* What all pods of the cache have in common: (root, component). */}}
{{- define "telemed-data.cachePod" -}}
{{- $root := index . 0 -}}
{{- $cache := $root.Values.cache -}}
enableServiceLinks: false
automountServiceAccountToken: false
{{- with $cache.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  # As the image has it.
  runAsUser: 999
  runAsGroup: 999
  fsGroup: 999
  seccompProfile:
    type: RuntimeDefault
# Half of it is for handing over to a replica.
terminationGracePeriodSeconds: 30
topologySpreadConstraints:
  {{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "telemed-data.selector" $ | nindent 8 }}
  {{- end }}
{{- with $cache.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $cache.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $cache.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
volumes:
  - name: config
    configMap:
      name: {{ include "telemed-data.cacheName" $root }}
  # Gone with the pod, as everything here.
  - name: data
    emptyDir:
      sizeLimit: 64Mi
{{- end -}}

{{/* The files of the cache's image, by mode. */}}
{{- define "telemed-data.cacheFiles" -}}
{{- $own := dict "standalone" (list "start-server.sh") "sentinel" (list "start-server.sh" "start-sentinel.sh") "cluster" (list "start-node.sh" "tend.sh" "cluster.conf") -}}
{{- range $file := concat (list "configuration.sh" "ready.sh") (index $own .Values.cache.mode) }}
{{ $file }}: |
  {{- $.Files.Get (printf "files/cache/%s" $file) | nindent 2 }}
{{- end }}
valkey.conf: |
  {{- .Files.Get "files/cache/valkey.conf" | nindent 2 }}
  maxmemory {{ .Values.cache.maxMemory }}
{{- if eq .Values.cache.mode "cluster" }}
nodes.conf: |
  {{- include "telemed-data.cacheMembers" . | trim | nindent 2 }}
{{- end }}
{{- end -}}
