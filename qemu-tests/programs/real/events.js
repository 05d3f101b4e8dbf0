// Objects and hot code, worker threads, compression in the thread pool, timers, files, a child.
'use strict';
const { execFile } = require('node:child_process');
const { createHash } = require('node:crypto');
const { readFile, writeFile } = require('node:fs/promises');
const { promisify } = require('node:util');
const { Worker } = require('node:worker_threads');
const zlib = require('node:zlib');

const scale = Number(process.env.SCALE);
const hash = (bytes) => createHash('sha256').update(bytes).digest('hex').slice(0, 16);

function objects() {
  const kept = new Map();
  let sum = 0;
  for (let turn = 0; turn < 300000 * scale; turn++) {
    kept.set(turn * 7 % 3001, { turn, text: `text ${turn}` });
    sum = (sum * 31 + kept.size + kept.get(turn * 7 % 3001).text.length) % 1000000007;
  }
  return sum;
}

const work = `
  const { parentPort, workerData } = require('node:worker_threads');
  let sum = 0;
  for (let turn = 0; turn < workerData.turns; turn++) sum = (sum * 31 + turn * workerData.number) % 1000003;
  parentPort.postMessage(sum);`;
const worker = (number) => new Promise((resolve, reject) => {
  const thread = new Worker(work, { eval: true, workerData: { number, turns: 2000000 * scale } });
  thread.once('message', resolve);
  thread.once('error', reject);
});

async function main() {
  console.log('objects', objects());
  console.log('workers', await Promise.all([1, 2, 3].map(worker)));
  const text = Buffer.from(Array.from({ length: 40000 * scale }, (_, line) => `line ${line * line % 1009}\n`).join(''));
  const packed = await Promise.all([1, 6, 9].map((level) => promisify(zlib.gzip)(text, { level })));
  console.log('packed', packed.map((bytes) => `${bytes.length} ${hash(bytes)}`));
  await writeFile('packed.gz', packed[1]);
  console.log('same', hash(await promisify(zlib.gunzip)(await readFile('packed.gz'))) === hash(text));
  const { stdout } = await promisify(execFile)('gzip', ['-dc', 'packed.gz'], { maxBuffer: 1 << 26 });
  console.log('child', hash(Buffer.from(stdout)) === hash(text));
  const order = [];
  const after = (delay) => new Promise((resolve) => setTimeout(() => { order.push(delay); resolve(); }, delay));
  await Promise.all([60, 10, 35].map(after));
  console.log('timers', order);
}

main();
