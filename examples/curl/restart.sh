#!/bin/sh
# Restarts a service by the API alone: plan, start, wait. Ends as the command
# line does: 0 done, 1 failed, 2 a name is wrong, 3 refused, 4 nobody answers,
# 5 a person is needed.
#
#   RESTARTILKA_URL         https://restartilka.example.com:8443
#   RESTARTILKA_TOKEN_FILE  a file, mode 600, with the token in one line
#   RESTARTILKA_CA          the authority of the server's certificate; may be unset
#
# usage: restart.sh SERVICE ENVIRONMENT REASON [KEY]
#
# KEY, such as the number of a build, makes it one restart however often it is
# sent.
set -eu
[ $# -ge 3 ] || { sed -n 's/^# usage: /usage: /p' "$0" >&2; exit 2; }
key=${4:-$(cat /proc/sys/kernel/random/uuid)}
answer='' config=''
trap 'rm -f "$answer" "$config"' EXIT
trap 'exit 129' HUP; trap 'exit 130' INT; trap 'exit 143' TERM     # dash leaves without EXIT otherwise
answer=$(mktemp) config=$(mktemp)                                  # for nobody else to read
# The token is in a file: an argument would be seen by everybody on this machine.
printf 'header = "Authorization: Bearer %s"\n' "$(cat "$RESTARTILKA_TOKEN_FILE")" > "$config"

# call METHOD PATH [BODY]: the answer's status; its body is in $answer.
call() {
    curl -sS --max-time 60 --config "$config" ${RESTARTILKA_CA:+--cacert "$RESTARTILKA_CA"} -o "$answer" -w '%{http_code}' \
        -X "$1" -H 'Content-Type: application/json' -H "Idempotency-Key: $key" ${3:+--data "$3"} "$RESTARTILKA_URL$2" || exit 4
}

# field NAME: a field of the answer; fails where there is none, as on a proxy's page.
field() { jq -er --arg name "$1" '.[$name]' "$answer" 2> /dev/null; }

body=$(jq -n --arg service "$1" --arg environment "$2" --arg reason "$3" '{service: $service, environment: $environment, reason: $reason, start: true}')
status=$(call POST /api/v1/runs "$body")
case $status in
20?) run=$(field id) || { echo "the server answers with no run" >&2; exit 4; } ;;
*)
    code=$(field code) || { echo "the server answers $status" >&2; exit 4; }
    jq -r '"refused (\(.code)): \(.detail)" + (if .hint then "\n" + .hint else "" end)' "$answer" >&2
    case $code in
    invalid | bad_parameter | not_found | too_large | unknown_service) exit 2 ;;
    unavailable | stopping | disk_full | internal) exit 4 ;;
    *) exit 3 ;;
    esac ;;
esac
echo "run $run: $RESTARTILKA_URL/runs/$run"

while :; do
    status=$(call GET "/api/v1/runs/$run")
    [ "$status" = 200 ] && field state > /dev/null || { echo "the server answers $status; the run goes on" >&2; exit 4; }
    if outcome=$(field outcome); then break; fi
    sleep "${RESTARTILKA_POLL:-2}"
done
jq -r '.tasks[] | "\(.host) \(.state)" + (if .error then ": " + .error else "" end)' "$answer"
jq -r '"\(.state)" + (if .explanation then ": " + .explanation else "" end)' "$answer"
case $outcome in # completed alone may leave hosts out, or tolerate failures
done) exit 0 ;;
rejected) exit 3 ;;
person) exit 5 ;;
*) exit 1 ;;
esac
