// Adds a profile and prints the reply. Node, rabbitmq-client.
//
//     AMQP_URL=amqp://… node add_profile_rabbitmq_client.js '{"token": "…", "db_id": 1, "data": {…}}'
'use strict';
const { randomUUID } = require('node:crypto');
const { Connection } = require('rabbitmq-client');

const QUEUE = process.env.REQUEST_QUEUE ?? 'profiles.add';
const TIMEOUT = Number(process.env.REPLY_TIMEOUT ?? 10) * 1000;
const ATTEMPTS = 3;

const rabbit = new Connection({ url: process.env.AMQP_URL, noDelay: true, acquireTimeout: TIMEOUT });
rabbit.on('error', (error) => console.error(error.message));
const profiles = rabbit.createRPCClient({
  queues: [{ queue: QUEUE, passive: true }], // A missing queue is an error, not silence.
  timeout: TIMEOUT,
  maxAttempts: ATTEMPTS, // With the same messageId, so it is never a second profile.
});

// Resolves to the reply. A refusal is a reply, too: look at its `error`.
async function addProfile(request, messageId) {
  const reply = await profiles.send({ routingKey: QUEUE, durable: true, messageId }, request);
  return reply.body;
}

const messageId = process.env.MESSAGE_ID || randomUUID();
addProfile(JSON.parse(process.argv[2]), messageId)
  .then(
    (reply) => console.log(JSON.stringify(reply)),
    (error) => {
      if (error.code === 'NOT_FOUND') console.error(`there is no queue ${QUEUE}`);
      else if (error.code === 'RPC_TIMEOUT') console.error(`no reply; MESSAGE_ID=${messageId} continues this request`);
      else console.error(error.message);
      process.exitCode = 1;
    },
  )
  .then(() => profiles.close())
  .then(() => rabbit.close());
