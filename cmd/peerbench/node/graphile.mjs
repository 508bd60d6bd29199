// graphile-worker with one queue a contact, which is how it keeps their order.
import { Logger, makeWorkerUtils, run } from 'graphile-worker';
import { applied, apply, chunks, connections, measure, pool } from './update.mjs';

const logger = new Logger(() => () => {});
pool.on('error', () => {});
pool.on('connect', (client) => client.on('error', () => {}));
const utils = await makeWorkerUtils({ pgPool: pool, logger });
await utils.migrate();
const runner = await run({
  pgPool: pool,
  concurrency: connections,
  noHandleSignals: true,
  pollInterval: 100,
  logger,
  taskList: {
    update: async (u) => {
      await apply(u);
      applied();
    },
  },
});
await measure(async () => {
  for (const updates of chunks(500)) {
    await utils.addJobs(updates.map((u) => ({ identifier: 'update', payload: u, queueName: u.contact })));
  }
});
await runner.stop();
await utils.release();
await pool.end();
