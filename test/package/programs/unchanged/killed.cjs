const { once } = require('node:events');

/** Tells the test that all transactions are open, and waits until it has killed the primary. */
exports.killed = async function killed() {
  console.log('open');
  await once(process.stdin, 'data');
  process.stdin.destroy();
};
