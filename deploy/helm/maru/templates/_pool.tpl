{{/* The pool's folders and what a pod needs to use them: the same for marud and for workers, by the pool's kind. */}}

{{/* The folder on the node that is mounted at /mnt/maru. */}}
{{- define "maru.poolFolder" -}}
{{- $defaults := dict "tmpfs" "/dev/shm/maru" "hugepages" "/dev/hugepages/maru" -}}
{{- if eq .Values.pool.kind "devdax" -}}
{{- .Values.pool.devdax.locksHostPath -}}
{{- else -}}
{{- default (get $defaults .Values.pool.kind) .Values.pool.hostPath -}}
{{- end -}}
{{- end -}}

{{- define "maru.poolVolumes" -}}
- name: pool
  hostPath:
    path: {{ include "maru.poolFolder" . }}
    type: {{ ternary "Directory" "DirectoryOrCreate" (or (eq .Values.pool.kind "fsdax") (not .Values.prepare.enabled)) }}
{{- if eq .Values.pool.kind "devdax" }}
- name: device
  hostPath:
    path: {{ .Values.pool.hostPath }}
    type: CharDevice
{{- end }}
{{- if .Values.workers.socket.enabled }}
- name: socket
  hostPath:
    path: {{ .Values.workers.socket.hostPath }}
    type: {{ ternary "DirectoryOrCreate" "Directory" .Values.prepare.enabled }}
{{- end }}
{{- with .Values.token.secretName }}
- name: token
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- end -}}

{{/* The token's folder, not the file: only so does a pod see tokens that the Secret gets later. */}}
{{- define "maru.poolMounts" -}}
- name: pool
  mountPath: /mnt/maru
{{- if eq .Values.pool.kind "devdax" }}
- name: device
  mountPath: /mnt/maru/pool
{{- end }}
{{- if .Values.workers.socket.enabled }}
- name: socket
  mountPath: /run/maru
{{- end }}
{{- if .Values.token.secretName }}
- name: token
  mountPath: /etc/maru/token
  readOnly: true
{{- end }}
{{- end -}}

{{/* "true" where only privilege opens the device: Kubernetes lets a container use devices that a plugin knows, and the
     rule that keeps all others closed has no other switch. */}}
{{- define "maru.privileged" -}}
{{- if and (eq .Values.pool.kind "devdax") (not .Values.pool.devdax.resource) -}}true{{- end -}}
{{- end -}}

{{- define "maru.containerSecurity" -}}
readOnlyRootFilesystem: true
{{- if include "maru.privileged" . }}
privileged: true
{{- else }}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
{{- end }}
{{- end -}}

{{/* Root where privileged, since a device node is root's; else the user of values.yaml. */}}
{{- define "maru.podSecurity" -}}
{{- if include "maru.privileged" . -}}
runAsUser: 0
{{- else -}}
runAsNonRoot: true
runAsUser: {{ int64 .Values.user }}
{{- end }}
runAsGroup: {{ int64 .Values.group }}
fsGroup: {{ int64 .Values.group }}
seccompProfile:
  type: RuntimeDefault
{{- with .Values.seLinuxOptions }}
seLinuxOptions:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* What the device's plugin counts, as a limit of a container. */}}
{{- define "maru.deviceLimit" -}}
{{- if and (eq .Values.pool.kind "devdax") .Values.pool.devdax.resource -}}
{{ .Values.pool.devdax.resource }}: 1
{{- end -}}
{{- end -}}

{{/* The folders as their user needs them: MODE USER FOLDER. Workers look their files up by name, so the group enters
     and does not write. */}}
{{- define "maru.folders" -}}
{{- $user := ternary "0" (toString (int64 .Values.user)) (eq (include "maru.privileged" .) "true") -}}
{{- $owner := printf "-o %s -g %d" $user (int64 .Values.group) -}}
install -d -m {{ ternary "0750" "0755" (hasSuffix "0" .Values.pool.mode) }} {{ $owner }} /mnt/maru
install -d -m 0700 {{ $owner }} /var/lib/maru
{{- if .Values.workers.socket.enabled }}
install -d -m 0750 {{ $owner }} /run/maru
{{- end }}
{{- end -}}

{{/* The memory's kind, as `stat -f` names it, where one kind alone is right. */}}
{{- define "maru.memoryKind" -}}
{{- get (dict "tmpfs" "tmpfs" "hugepages" "hugetlbfs") .Values.pool.kind -}}
{{- end -}}
