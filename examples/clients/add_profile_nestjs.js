// Adds a profile and prints the reply. Node, NestJS microservices.
//
//     AMQP_URL=amqp://… node add_profile_nestjs.js '{"token": "…", "db_id": 1, "data": {…}}'
'use strict';
const { randomUUID } = require('node:crypto');
const { Logger } = require('@nestjs/common');
const { ClientRMQ, RmqRecordBuilder } = require('@nestjs/microservices');
const { lastValueFrom, retry, timeout } = require('rxjs');

const QUEUE = process.env.REQUEST_QUEUE ?? 'profiles.add';
const TIMEOUT = Number(process.env.REPLY_TIMEOUT ?? 10) * 1000;
const ATTEMPTS = 3;

// The request alone, without the envelope {pattern, data, id}.
const requestSerializer = {
  serialize: ({ data: record }) => ({ ...record.data, options: record.options }),
};

// Without this a missing queue is silence.
class ProfilesClient extends ClientRMQ {
  setupChannel(channel, resolve) {
    channel.on('return', ({ properties: { correlationId } }) => {
      const content = JSON.stringify({ err: `there is no queue ${this.queue}` });
      this.responseEmitter.emit(correlationId, { content });
    });
    return super.setupChannel(channel, resolve);
  }
}

const profiles = new ProfilesClient({
  urls: [process.env.AMQP_URL],
  queue: QUEUE,
  noAssert: true, // It is there, with arguments that are not yours.
  persistent: true,
  serializer: requestSerializer,
  socketOptions: { connectionOptions: { noDelay: true } },
});

// Resolves to the reply. A refusal is a reply, too: look at its `error`.
function addProfile(request, messageId) {
  const options = { messageId, contentType: 'application/json', mandatory: true };
  const record = new RmqRecordBuilder(request).setOptions(options).build();
  // The same body with the same messageId is the same request, so it is safe to send it again.
  const reply = profiles.send('profiles.add', record).pipe(timeout(TIMEOUT), retry(ATTEMPTS - 1));
  return lastValueFrom(reply);
}

Logger.overrideLogger(['error']); // Others go to standard output.
const messageId = process.env.MESSAGE_ID || randomUUID();
addProfile(JSON.parse(process.argv[2]), messageId)
  .then(
    (reply) => console.log(JSON.stringify(reply)),
    (error) => {
      if (error.name === 'TimeoutError') console.error(`no reply; MESSAGE_ID=${messageId} continues this request`);
      else console.error(error.message ?? error);
      process.exitCode = 1;
    },
  )
  .then(() => profiles.close());
