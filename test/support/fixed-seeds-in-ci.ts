import fc from 'fast-check';

// A change must not fail for a case that it did not bring: in CI the random cases are the same each time. Everywhere
// else they differ, and a failure prints its seed.
if (process.env['CI'] !== undefined) fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: 20_261_123 });
