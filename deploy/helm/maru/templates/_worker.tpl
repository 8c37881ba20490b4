{{/* What a worker's pod needs to use the marud of its own node; the example and `helm test` are made of it. */}}

{{/* Where marud listens for it, for `maructl --server`. */}}
{{- define "maru.worker.server" -}}
{{- if .Values.workers.socket.enabled -}}
unix:/run/maru/maru.sock
{{- else if .Values.workers.tcp.hostPort -}}
$(NODE_ADDRESS):{{ int64 .Values.workers.tcp.hostPort }}
{{- else -}}
{{ include "maru.fullname" . }}:{{ int64 .Values.workers.tcp.port }}
{{- end -}}
{{- end -}}

{{/* The Secret with its certificate; empty where it needs none. */}}
{{- define "maru.worker.certificate" -}}
{{- if and .Values.tls.secretName (not .Values.workers.socket.enabled) -}}
{{- .Values.tls.workerSecretName -}}
{{- end -}}
{{- end -}}

{{/* "true" where its only door asks for a certificate and it has none. */}}
{{- define "maru.worker.locked" -}}
{{- and .Values.tls.secretName (not .Values.workers.socket.enabled) (not .Values.tls.workerSecretName) | not | not -}}
{{- end -}}

{{/* Fields of the pod's spec: on a node that has a marud, as a user of the pool's group, with the pool's volumes. */}}
{{- define "maru.worker.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
nodeSelector:
  {{- include "maru.nodeSelector" . | nindent 2 }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
affinity:
  podAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            {{- include "maru.selectorLabels" . | nindent 12 }}
securityContext:
  {{- if include "maru.privileged" . }}
  runAsUser: 0
  {{- else }}
  runAsNonRoot: true
  runAsUser: 65534
  {{- end }}
  runAsGroup: 65534
  # The pool's group: by it the pod may map the pool and enter the folders.
  supplementalGroups: [{{ int64 .Values.group }}]
  fsGroup: {{ int64 .Values.group }}
  seccompProfile:
    type: RuntimeDefault
  {{- with .Values.seLinuxOptions }}
  seLinuxOptions:
    {{- toYaml . | nindent 4 }}
  {{- end }}
volumes:
  {{- include "maru.poolVolumes" . | nindent 2 }}
  {{- if include "maru.worker.certificate" . }}
  - name: tls
    secret:
      secretName: {{ include "maru.worker.certificate" . }}
      defaultMode: 0440
  {{- end }}
{{- end -}}

{{/* Fields of the container beside its name and command. The folders have the same paths as in marud's pod, so the
     paths that marud tells of are right here too. */}}
{{- define "maru.worker.container" -}}
image: {{ include "maru.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
env:
  {{- if and .Values.workers.tcp.hostPort (not .Values.workers.socket.enabled) }}
  - name: NODE_ADDRESS
    valueFrom:
      fieldRef:
        fieldPath: status.hostIP
  {{- end }}
  - name: MARU_SERVER
    value: {{ include "maru.worker.server" . }}
  {{- if .Values.token.secretName }}
  - name: MARU_TOKEN_FILE
    value: /etc/maru/token/{{ .Values.token.key }}
  {{- end }}
  {{- if include "maru.worker.certificate" . }}
  - name: MARU_TLS_CERT
    value: /etc/maru/tls/tls.crt
  - name: MARU_TLS_KEY
    value: /etc/maru/tls/tls.key
  - name: MARU_TLS_CA
    value: /etc/maru/tls/ca.crt
  # Also where the node's address is what is connected to.
  - name: MARU_TLS_SERVER_NAME
    value: {{ include "maru.fullname" . }}
  {{- end }}
securityContext:
  {{- include "maru.containerSecurity" . | nindent 2 }}
resources:
  requests:
    cpu: 10m
    memory: 32Mi
  limits:
    memory: 256Mi
    {{- if eq .Values.pool.kind "hugepages" }}
    # The record of a session's pins lies beside the pool: 8 MiB of huge pages for each process that uses it. A container
    # that asks for none may have none, whatever the node has.
    hugepages-{{ .Values.pool.hugepageSize }}: {{ ternary "8Mi" "1Gi" (eq .Values.pool.hugepageSize "2Mi") }}
    {{- end }}
    {{- with include "maru.deviceLimit" . }}
    {{- . | nindent 4 }}
    {{- end }}
volumeMounts:
  {{- include "maru.poolMounts" . | nindent 2 }}
  {{- if include "maru.worker.certificate" . }}
  - name: tls
    mountPath: /etc/maru/tls
    readOnly: true
  {{- end }}
{{- end -}}
