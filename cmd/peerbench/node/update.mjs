// The plain transaction of update.go, and the workload of workload.go.
import pg from 'pg';

const account = '00000000-0000-7000-8000-00000000acc0';
export const writes = Number(process.env.WRITES);
const contacts = Number(process.env.CONTACTS);
export const connections = 16;
export const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: connections });

// at returns the nth update. Two neighbours have one contact.
export function at(n) {
  const contact = (Math.floor(n / 2) * 7919) % contacts;
  const hex = (value, digits) => value.toString(16).padStart(digits, '0');
  return {
    n,
    id: `${hex(Date.now(), 12).replace(/^(.{8})/, '$1-')}-7${hex(n % 4096, 3)}-8000-${hex(n, 12)}`,
    contact: `00000000-0000-7000-8000-${hex(contact, 12)}`,
    title: `Title ${n}`,
    company: `Company ${n}`,
    note: n % 5 === 0 ? `note ${n}` : '',
  };
}

// apply reads the contact under lock, changes it, and records what changed.
export async function apply(u) {
  const client = await pool.connect();
  try {
    await client.query('BEGIN');
    const { rows: [old] } = await client.query(
      'SELECT job_title, company_name, version FROM contacts WHERE account_id = $1 AND id = $2 FOR UPDATE',
      [account, u.contact]);
    const changes = [
      { field: 'job_title', old: old.job_title, new: u.title },
      { field: 'company_name', old: old.company_name, new: u.company },
    ];
    if (u.note) {
      changes.push({ field: 'notes', op: 'append', old: null, new: u.note });
      await client.query(
        `UPDATE contacts SET job_title = $1, company_name = $2, version = version + 1, updated_at = now(),
           notes = CASE WHEN notes IS NULL THEN $3 ELSE notes || E'\n' || $3 END WHERE account_id = $4 AND id = $5`,
        [u.title, u.company, u.note, account, u.contact]);
    } else {
      await client.query(
        `UPDATE contacts SET job_title = $1, company_name = $2, version = version + 1, updated_at = now()
           WHERE account_id = $3 AND id = $4`,
        [u.title, u.company, account, u.contact]);
    }
    await client.query(
      `INSERT INTO writes (account_id, id, contact_id, kind, state, version, actor, source, accepted_at, applied_at, changes)
         VALUES ($1, $2, $3, 'patch', 'applied', $4, 'peer', 'patch', now(), now(), $5)`,
      [account, u.id, u.contact, Number(old.version) + 1, JSON.stringify(changes)]);
    await client.query('COMMIT');
  } catch (err) {
    await client.query('ROLLBACK');
    throw err;
  } finally {
    client.release();
  }
}

// measure runs enqueue, waits until every write was applied, and prints the seconds.
export async function measure(enqueue) {
  const start = process.hrtime.bigint();
  await enqueue();
  await all;
  console.log(JSON.stringify({ seconds: Number(process.hrtime.bigint() - start) / 1e9 }));
}

let left = writes;
let finish;
const all = new Promise((resolve) => { finish = resolve; });

// applied counts one applied write.
export function applied() {
  left -= 1;
  if (left === 0) finish();
}

// chunks yields the workload in order, so many updates at a time.
export function* chunks(size) {
  for (let first = 0; first < writes; first += size) {
    yield Array.from({ length: Math.min(size, writes - first) }, (_, i) => at(first + i));
  }
}
