#!/bin/sh
# Adds a profile and prints the reply. Shell, amqp-tools.
#
#     AMQP_URL=amqp://… ./add_profile_amqp_tools.sh '{"token": "…", "db_id": 1, "data": {…}}'
#
# For use by hand. amqp-tools know no publisher confirms, no mandatory flag and no message_id. So this
# learns of a missing queue, or of a lost request, only by waiting in vain, and does not send again:
# without a message_id a second request is not known to be the same.
set -eu
if [ $# != 1 ]; then echo 'give the body of the request' >&2; exit 1; fi
queue=${REQUEST_QUEUE:-profiles.add}
timeout=${REPLY_TIMEOUT:-30}
case $1 in '<'*) content_type=application/xml ;; *) content_type=application/json ;; esac

folder=$(mktemp -d)
consumer=
trap 'if [ "$consumer" ]; then kill "$consumer" 2> /dev/null || true; fi; rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

# Without --queue amqp-consume has RabbitMQ make a queue for it alone, which is gone when it ends, and
# says the queue's name.
timeout "$timeout" amqp-consume --url="$AMQP_URL" --exclusive --no-ack --count=1 cat \
  > "$folder/reply" 2> "$folder/words" &
consumer=$!
reply_to=
until [ "$reply_to" ]; do
  if ! kill -0 "$consumer" 2> /dev/null; then cat "$folder/words" >&2; exit 1; fi
  sleep 0.1
  reply_to=$(sed -n 's/^Server provided queue name: //p' "$folder/words")
done

amqp-publish --url="$AMQP_URL" --routing-key="$queue" --reply-to="$reply_to" --content-type="$content_type" \
  --persistent --body="$1"
consumed=0
wait "$consumer" || consumed=$?
consumer=
if [ $consumed != 0 ]; then
  echo "no reply within $timeout seconds: is there a queue $queue, and a worker?" >&2
  exit 1
fi
cat "$folder/reply"
echo
