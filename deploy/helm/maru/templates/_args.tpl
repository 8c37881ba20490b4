{{/* The one place that says which value becomes which option of marud. */}}

{{/* A value as marud reads it: YAML's numbers come as floats, which would be written with an exponent. */}}
{{- define "maru.text" -}}
{{- if kindIs "float64" . -}}{{- int64 . -}}{{- else -}}{{- . -}}{{- end -}}
{{- end -}}

{{/* `options`, and what the pool's kind asks for. On huge pages all of the pool is touched at the start: a worker that
     maps what is not there yet would have to pay for it, and may have none of the huge pages. */}}
{{- define "maru.options" -}}
{{- $own := ternary (dict "prefault" "start") dict (eq .Values.pool.kind "hugepages") -}}
{{- toYaml (merge (dict) .Values.options $own) -}}
{{- end -}}

{{- define "maru.args" -}}
- --pool=/mnt/maru/pool
{{- with .Values.pool.size }}
- --pool-size={{ . }}
{{- end }}
{{- if has .Values.pool.kind (list "devdax" "hugepages") }}
- --lock-dir=/mnt/maru/locks
{{- end }}
- --page-min={{ .Values.pool.pageMin }}
- --pool-mode={{ .Values.pool.mode }}
- --state-dir=/var/lib/maru
{{- if .Values.workers.socket.enabled }}
- --listen=unix:/run/maru/maru.sock
- --socket-mode=0660
{{- end }}
{{- if .Values.workers.tcp.enabled }}
- --listen=0.0.0.0:{{ int64 .Values.workers.tcp.port }}
{{- if not .Values.tls.secretName }}
- --insecure-bind
{{- end }}
{{- end }}
{{- if .Values.tls.secretName }}
- --tls-cert=/etc/maru/tls/tls.crt
- --tls-key=/etc/maru/tls/tls.key
- --tls-ca=/etc/maru/tls/ca.crt
{{- end }}
{{- if .Values.token.secretName }}
- --token-file=/etc/maru/token/{{ .Values.token.key }}
{{- end }}
- --http=0.0.0.0:{{ int64 .Values.http.port }}
- --insecure-http
{{- range $name, $value := include "maru.options" . | fromYaml }}
- {{ printf "--%s=%s" $name (include "maru.text" $value) | quote }}
{{- end }}
{{- end -}}

{{/* Ends the rendering where values do not go together; the schema sees one at a time. */}}
{{- define "maru.check" -}}
{{- $v := .Values -}}
{{- if not (or $v.workers.socket.enabled $v.workers.tcp.enabled) -}}
{{- fail "workers.socket.enabled and workers.tcp.enabled are both false: no worker could come in" -}}
{{- end -}}
{{- if $v.workers.tcp.enabled -}}
{{- if not (or $v.tls.secretName $v.workers.tcp.insecure) -}}
{{- fail "workers.tcp.enabled opens a port on the network: give tls.secretName, or workers.tcp.insecure=true to trust everybody who reaches it" -}}
{{- end -}}
{{- if eq (int64 $v.workers.tcp.port) (int64 $v.http.port) -}}
{{- fail (printf "workers.tcp.port and http.port are both %d" (int64 $v.http.port)) -}}
{{- end -}}
{{- if and (semverCompare "<1.22-0" .Capabilities.KubeVersion.Version) (not $v.workers.tcp.hostPort) -}}
{{- fail (printf "workers.tcp.hostPort is needed on Kubernetes %s: its Services cannot keep workers on their own node (1.22 and later can)" .Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- end -}}
{{- if and $v.exampleWorker.enabled (eq (include "maru.worker.locked" .) "true") -}}
{{- fail "exampleWorker.enabled needs tls.workerSecretName: the only door asks for a certificate" -}}
{{- end -}}
{{- if and $v.monitoring.serviceMonitor.enabled $v.monitoring.podMonitor.enabled -}}
{{- fail "monitoring.serviceMonitor.enabled and monitoring.podMonitor.enabled are both true: every series would be there twice" -}}
{{- end -}}
{{- end -}}
