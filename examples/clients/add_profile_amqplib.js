// Adds a profile and prints the reply. Node, amqplib.
//
//     AMQP_URL=amqp://… node add_profile_amqplib.js '{"token": "…", "db_id": 1, "data": {…}}'
'use strict';
const { randomUUID } = require('node:crypto');
const { setTimeout: sleep } = require('node:timers/promises');
const amqp = require('amqplib');

const QUEUE = process.env.REQUEST_QUEUE ?? 'profiles.add';
const TIMEOUT = Number(process.env.REPLY_TIMEOUT ?? 10) * 1000;
const ATTEMPTS = 3;
const REPLY_TO = 'amq.rabbitmq.reply-to';

// Resolves to the reply. A refusal is a reply, too: look at its `error`.
async function addProfile(body, messageId) {
  if (!body) throw new Error('give the body of the request');
  const connection = await amqp.connect(process.env.AMQP_URL, { noDelay: true, timeout: TIMEOUT });
  try {
    const channel = await connection.createConfirmChannel();
    // Settled by the first thing that decides: the reply, the request's return, a lost connection.
    const reply = new Promise((resolve, reject) => {
      connection.on('error', reject);
      channel.on('error', reject);
      channel.on('close', () => reject(new Error('the connection was closed')));
      channel.on('return', () => reject(new Error(`there is no queue ${QUEUE}`)));
      const onReply = (message) => {
        if (message?.properties.correlationId === messageId) resolve(message.content.toString());
      };
      // RabbitMQ wants the consumer there before the request that names it; both go out in this order.
      channel.consume(REPLY_TO, onReply, { noAck: true }).catch(reject);
    });
    const options = {
      contentType: body.startsWith('<') ? 'application/xml' : 'application/json',
      persistent: true,
      mandatory: true,
      messageId,
      correlationId: messageId,
      replyTo: REPLY_TO,
    };
    // The same body with the same messageId is the same request, so it is safe to send it again.
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      channel.sendToQueue(QUEUE, Buffer.from(body), options);
      const done = Promise.all([reply, channel.waitForConfirms()]);
      const [answer] = await Promise.race([done, sleep(TIMEOUT, [], { ref: false })]);
      if (answer !== undefined) return answer;
    }
    throw new Error(`no reply to ${ATTEMPTS} attempts; MESSAGE_ID=${messageId} continues this request`);
  } finally {
    await connection.close().catch(() => {}); // It may be lost already, which is not the news.
  }
}

addProfile(process.argv[2], process.env.MESSAGE_ID || randomUUID()).then(
  (reply) => console.log(reply),
  (error) => {
    console.error(error.message || error);
    process.exitCode = 1;
  },
);
