// Sends requests with ids of every kind that AMQP 1.0 and MQTT 5 have, and prints for each reply one
// line: what was sent, and as what its correlation id came back. tests/it/protocols.rs runs it.
//
// AMQP_URL, MQTT_URL: the broker. REQUEST_KEY: a routing key of amq.topic that leads to the request
// queue. REPLY_QUEUE: a queue that is there. TOKEN: an API token.
'use strict';

const mqtt = require('mqtt');
const rhea = require('rhea');

const { AMQP_URL, MQTT_URL, REQUEST_KEY, REPLY_QUEUE, TOKEN } = process.env;
const NO_TEXT = Buffer.from([0xff, 0, 7]);
const UUID = Buffer.from('00112233445566778899aabbccddeeff', 'hex');
const authorization = `Bearer ${TOKEN}`;
const body = (kind, token = TOKEN) => JSON.stringify({ token, db_id: 1, feedback_id: kind });
// The kind of request that a reply answers.
function kindOf(reply) {
  const { error, error_text: text, feedback_id: kind } = JSON.parse(reply);
  if (error !== 0) throw new Error(`${kind}: ${text}`);
  return kind;
}
const say = (kind, back) => console.log(JSON.stringify({ kind, back }));
const isSame = (a, b) => (Buffer.isBuffer(a) && Buffer.isBuffer(b) ? a.equals(b) : a === b);

function overAmqp10() {
  const url = new URL(AMQP_URL);
  const connection = rhea.connect({
    host: url.hostname, port: url.port, username: url.username, password: url.password, reconnect: false,
  });
  const data = (text) => rhea.message.data_section(Buffer.from(text));
  return new Promise((done, fail) => {
    let ids, waiting;
    const back = (kind, { correlation_id: property, message_annotations: annotations = {} }) => {
      const annotation = annotations['x-correlation-id'];
      if (isSame(annotation, ids[kind].sent)) return 'annotation';
      if (isSame(property, ids[kind].sent)) return 'as it was';
      return Buffer.isBuffer(property) ? 'as bytes' : `as a ${typeof property}`;
    };
    connection.on('connection_open', () => {
      const is4 = parseInt(connection.properties.version, 10) >= 4;
      const id = (sent, wrapped) => ({ sent, wrapped: wrapped || sent });
      ids = {
        string: id('a text'),
        'string with a value section': id('a text'),
        uuid: id(UUID, rhea.types.wrap_uuid(UUID)),
        binary: id(NO_TEXT, rhea.types.wrap_binary(NO_TEXT)),
        // Earlier brokers can't deliver these.
        ...(is4 && { ulong: id(777), 'long string': id('t'.repeat(300)) }),
      };
      waiting = new Set(Object.keys(ids));
      connection.open_receiver(is4 ? `/queues/${REPLY_QUEUE}` : `/amq/queue/${REPLY_QUEUE}`);
      const sender = connection.open_sender(
        is4 ? `/exchanges/amq.topic/${REQUEST_KEY}` : `/topic/${REQUEST_KEY}`);
      sender.once('sendable', () => Object.entries(ids).forEach(([kind, { wrapped }]) => sender.send({
        message_id: wrapped,
        correlation_id: wrapped,
        reply_to: is4 ? `/queues/${REPLY_QUEUE}` : `/queue/${REPLY_QUEUE}`,
        ...(kind === 'ulong'
          ? { application_properties: { authorization }, body: data(body(kind, null)) }
          : { body: kind.endsWith('value section') ? body(kind) : data(body(kind)) }),
      })));
    });
    connection.on('message', ({ message }) => {
      const kind = kindOf(message.body.content);
      say(`AMQP 1.0, ${kind}`, back(kind, message));
      waiting.delete(kind);
      if (waiting.size === 0) { connection.close(); done(); }
    });
    for (const event of ['connection', 'session', 'sender', 'receiver']) {
      connection.on(`${event}_error`, (context) => fail(context[event].error));
    }
    connection.on('rejected', () => fail(new Error('a request was rejected')));
  });
}

function overMqtt5() {
  const client = mqtt.connect(MQTT_URL, { protocolVersion: 5, reconnectPeriod: 0 });
  const topic = `${REPLY_QUEUE}/replies`.replaceAll('.', '-');
  const ids = { text: Buffer.from('a text'), bytes: NO_TEXT, 'many bytes': Buffer.alloc(60000, 0xfe) };
  const waiting = new Set(Object.keys(ids));
  return new Promise((done, fail) => {
    client.on('error', fail);
    client.on('connect', () => client.subscribe(topic, { qos: 1 }, () => {
      Object.entries(ids).forEach(([kind, correlationData]) => client.publish(
        REQUEST_KEY.replaceAll('.', '/'), body(kind, null),
        { qos: 1, properties: { responseTopic: topic, correlationData, userProperties: { authorization } } }));
    }));
    client.on('message', (_, payload, { properties: { correlationData } }) => {
      const kind = kindOf(payload);
      say(`MQTT 5, ${kind}`, isSame(correlationData, ids[kind]) ? 'as it was' : 'otherwise');
      waiting.delete(kind);
      if (waiting.size === 0) { client.end(); done(); }
    });
  });
}

const way = { 'AMQP 1.0': overAmqp10, 'MQTT 5': overMqtt5 }[process.argv[2]];
way().catch((error) => { console.error(error); process.exit(1); });
