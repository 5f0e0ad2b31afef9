#!/bin/sh
# Adds a profile and prints the reply. Shell, amqp-tools.
#
#     AMQP_URL=amqp://… ./add_profile.sh '{"token": "…", "db_id": 1, "data": {…}}'
#
# Without a reply_to the reply goes to the result queue, from which this takes the next one: good
# enough by hand, not for several at a time.
set -eu
amqp-publish --url="$AMQP_URL" --routing-key="${REQUEST_QUEUE:-profiles.add}" --content-type=application/json \
  --persistent --body="$1"
for _ in $(seq 300); do
  if amqp-get --url="$AMQP_URL" --queue="${RESULT_QUEUE:-profiles.add.results}"; then echo; exit 0; fi
  sleep 0.1
done
echo 'no reply within 30 seconds' >&2
exit 1
