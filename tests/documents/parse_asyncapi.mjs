// Parses an AsyncAPI document with AsyncAPI's own parser, and fails if it finds anything wrong.
//
//     profile-worker contract --format asyncapi > FOLDER/asyncapi.json
//     NODE_PATH=… node parse_asyncapi.mjs FOLDER/asyncapi.json
//
// Needs the package @asyncapi/parser.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const { Parser } = createRequire(import.meta.url)('@asyncapi/parser');

const { document, diagnostics } = await new Parser().parse(readFileSync(process.argv[2], 'utf8'));
const problems = diagnostics.filter(({ severity }) => severity <= 1);
for (const { code, message, path } of problems) console.error(`${code} at ${path.join('.')}: ${message}`);
if (!document || problems.length > 0) process.exit(1);
console.log(`${document.operations().length} operations, ${document.allMessages().length} messages`);
