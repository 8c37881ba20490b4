{{/* Arithmetic on sizes: what the pool asks for beside what marud itself needs. */}}

{{/* Bytes of a size of marud (64KiB) or a quantity of Kubernetes (512Mi, 1G). */}}
{{- define "maru.bytes" -}}
{{- $units := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000
    "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- mul (regexFind "^[0-9]+" .) (get $units (regexFind "[kKMGTi]*B?$" . | trimSuffix "B")) -}}
{{- end -}}

{{/* Pages of the pool, 0 where its size is not known. */}}
{{- define "maru.pages" -}}
{{- if .Values.pool.size -}}
{{- div (include "maru.bytes" .Values.pool.size) (include "maru.bytes" .Values.pool.pageMin) -}}
{{- else -}}0{{- end -}}
{{- end -}}

{{/* Bytes of the pool: the chunks, and 96 bytes a page for descriptors and index, with some to spare for the head. */}}
{{- define "maru.poolBytes" -}}
{{- add (include "maru.bytes" .Values.pool.size) (mul 96 (include "maru.pages" .)) 8388608 -}}
{{- end -}}

{{/* Memory of marud's container in Mi: `own`, the index, and a pool that is the container's memory.
     The index took 114 bytes an entry (bench/README.md), and recovery holds some of it twice: 320. */}}
{{- define "maru.memory" -}}
{{- $bytes := add (include "maru.bytes" .own) (mul 320 (include "maru.pages" .root)) -}}
{{- if eq .root.Values.pool.kind "tmpfs" -}}
{{- $bytes = add $bytes (include "maru.poolBytes" .root) -}}
{{- end -}}
{{- printf "%dMi" (div (add $bytes 1048575) 1048576) -}}
{{- end -}}

{{/* Huge pages for the pool as a quantity: metadata and chunks are whole pages each, and the locks of marud's own take one. */}}
{{- define "maru.hugepages" -}}
{{- $page := include "maru.bytes" .Values.pool.hugepageSize -}}
{{- $unit := ternary "Gi" "Mi" (hasSuffix "Gi" .Values.pool.hugepageSize) -}}
{{- $pages := add (div (add (include "maru.poolBytes" .) $page -1) $page) 2 -}}
{{- printf "%d%s" (div (mul $pages $page) (include "maru.bytes" (printf "1%s" $unit))) $unit -}}
{{- end -}}

{{/* Seconds that a start may take; see probes.startup in values.yaml. */}}
{{- define "maru.startupSeconds" -}}
{{- $given := int64 .Values.probes.startup.seconds -}}
{{- if $given -}}
{{- $given -}}
{{- else if not .Values.pool.size -}}
1800
{{- else -}}
{{- $seconds := add 120 (div (mul 15 (include "maru.pages" .)) 1000000) -}}
{{- if eq (get (include "maru.options" . | fromYaml) "prefault") "start" -}}
{{- $seconds = add $seconds (mul 2 (div (include "maru.bytes" .Values.pool.size) 1073741824)) -}}
{{- end -}}
{{- $seconds -}}
{{- end -}}
{{- end -}}
