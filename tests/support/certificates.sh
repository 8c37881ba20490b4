#!/usr/bin/env bash
# Makes the certificates of tests in a folder: tests/support/certificates.sh FOLDER
#
#   ca, other-ca                 who signs; NAME.pem and NAME.key each
#   server                       of marud: 127.0.0.1, ::1, localhost and "marud"; signed by ca, for servers only
#   client, client2              of workers; signed by ca, for clients only
#   elsewhere                    of another marud: "elsewhere.example"; signed by ca
#   expired-client, expired-server   signed by ca, over since a day
#   foreign-client, foreign-server   signed by other-ca
set -Eeuo pipefail
cd "$1"

# make NAME DAYS EXTENSIONS... [-- CA]
make() {
  local name=$1 days=$2 extensions=() ca=()
  shift 2
  while [ $# -gt 0 ] && [ "$1" != -- ]; do extensions+=(-addext "$1"); shift; done
  [ $# -eq 0 ] || ca=(-CA "$2.pem" -CAkey "$2.key")
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$name.key" -out "$name.pem" \
    -subj "/CN=$name" -days "$days" "${extensions[@]}" "${ca[@]}" 2>log
}

authority() { make "$1" 2 keyUsage=critical,keyCertSign; }
# leaf NAME CA DAYS PURPOSE [SUBJECT_ALT_NAMES]
leaf() { make "$1" "$3" basicConstraints=critical,CA:FALSE extendedKeyUsage="$4" ${5:+subjectAltName=$5} -- "$2"; }

# expired OF PURPOSE [SUBJECT_ALT_NAMES]: as OF, over since a day
expired() {
  cp "$1.key" "expired-$1.key"
  openssl req -new -key "$1.key" -subj "/CN=expired-$1" -addext extendedKeyUsage="$2" \
    ${3:+-addext subjectAltName="$3"} 2>log |
    openssl x509 -req -CA ca.pem -CAkey ca.key -days -1 -copy_extensions copy -out "expired-$1.pem" 2>log
}

trap 'cat log >&2' ERR
here=IP:127.0.0.1,IP:::1,DNS:localhost,DNS:marud
authority ca
authority other-ca
leaf server ca 2 serverAuth $here
leaf elsewhere ca 2 serverAuth DNS:elsewhere.example
leaf client ca 2 clientAuth
leaf client2 ca 2 clientAuth
expired server serverAuth $here
expired client clientAuth
leaf foreign-server other-ca 2 serverAuth $here
leaf foreign-client other-ca 2 clientAuth
chmod 600 ./*.key
rm -f log ./*.srl
