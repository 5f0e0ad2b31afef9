// Adds a profile and prints the reply. Node, amqplib.
//
//     AMQP_URL=amqp://… node add_profile_amqplib.js '{"token": "…", "db_id": 1, "data": {…}}'
const { randomUUID } = require('node:crypto');
const amqp = require('amqplib');

async function addProfile(body) {
  const connection = await amqp.connect(process.env.AMQP_URL, { noDelay: true });
  const channel = await connection.createConfirmChannel();
  const replyTo = 'amq.rabbitmq.reply-to';
  const reply = new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error('no reply within 30 seconds')), 30_000).unref();
    channel.consume(replyTo, (message) => resolve(message.content.toString()), { noAck: true }).catch(reject);
  });
  // The same messageId with the same body is the same request: after a time-out it may be sent again.
  const id = randomUUID();
  const options = { contentType: 'application/json', persistent: true, replyTo, correlationId: id, messageId: id };
  channel.sendToQueue(process.env.REQUEST_QUEUE ?? 'profiles.add', Buffer.from(body), options);
  await channel.waitForConfirms();
  console.log(await reply);
  await connection.close();
}

addProfile(process.argv[2]).catch((error) => { console.error(error.message); process.exit(1); });
