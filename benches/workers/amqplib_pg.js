// Reference worker: amqplib and pg, as one would write it. `make bench` runs it.
'use strict';

const amqplib = require('amqplib');
const { Pool } = require('pg');

const CONCURRENT = 64;
const CONNECTIONS = 16;

const INSERT_PROFILE = {
  name: 'insert profile',
  text: `INSERT INTO profiles (id, db_id, email, first_name, last_name, city)
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
};
const INSERT_SUBSCRIPTION = {
  name: 'insert subscription',
  text: 'INSERT INTO subscriptions (profile_id, resource_id, channel, address) VALUES ($1, $2, $3, $4)',
};

const pool = new Pool({ connectionString: process.env.DATABASE_URL, max: CONNECTIONS });
let count = 0;

function newId() {
  count += 1;
  return Math.floor(Date.now() / 1000).toString(16).padStart(8, '0') + count.toString(16).padStart(16, '0');
}

async function store({ db_id: dbId, data }) {
  const id = newId();
  const client = await pool.connect();
  try {
    await client.query('BEGIN');
    const values = [id, dbId, data.email, data._fname, data._lname, data._city];
    const { rowCount } = await client.query({ ...INSERT_PROFILE, values });
    if (rowCount === 0) {
      await client.query('ROLLBACK');
      return { error: 409, error_text: `another profile has the email ${data.email}` };
    }
    for (const s of data.subscriptions ?? []) {
      await client.query({ ...INSERT_SUBSCRIPTION, values: [id, s.resource_id, s.channel, s.email] });
    }
    await client.query('COMMIT');
    return { error: 0, error_text: '', profile_id: id };
  } finally {
    client.release();
  }
}

async function main() {
  // Without noDelay every lonely reply waits 40 ms for the system to send it.
  const connection = await amqplib.connect(process.env.AMQP_URL, { noDelay: true });
  const channel = await connection.createConfirmChannel();
  await channel.prefetch(CONCURRENT);

  async function work(message) {
    const answer = await store(JSON.parse(message.content));
    const { replyTo, correlationId } = message.properties;
    const options = { correlationId, contentType: 'application/json', persistent: true, mandatory: true };
    await new Promise((resolve, reject) => {
      const confirmed = (error) => (error ? reject(error) : resolve());
      channel.sendToQueue(replyTo, Buffer.from(JSON.stringify(answer)), options, confirmed);
    });
    channel.ack(message);
  }

  await channel.consume(process.env.REQUEST_QUEUE, work);
  console.error('taking requests');
}

main();
