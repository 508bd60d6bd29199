// BullMQ, one job a write; its free version has no order within a contact.
import { Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import { applied, apply, chunks, connections, measure, pool } from './update.mjs';

const connect = () => new Redis(process.env.REDIS_URL, { maxRetriesPerRequest: null });
const [producer, consumer] = [connect(), connect()];
const queue = new Queue('updates', { connection: producer });
const worker = new Worker('updates', async (job) => {
  await apply(job.data);
  applied();
}, { connection: consumer, concurrency: connections });
worker.on('error', (err) => { throw err; });
await worker.waitUntilReady();
await measure(async () => {
  for (const updates of chunks(500)) {
    await queue.addBulk(updates.map((u) => ({ name: 'update', data: u })));
  }
});
await worker.close();
await queue.close();
producer.disconnect();
consumer.disconnect();
await pool.end();
