import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

function read(path: string): string {
  return readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');
}

/** The TypeScript of a text, without what the lines are indented by. */
function programsOf(markdown: string): string[] {
  return [...markdown.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, program]) => unindented(program!));
}

function unindented(text: string): string {
  return text.replaceAll(/^ +/gm, '');
}

describe('the guides', () => {
  it('what the one to ORMs shows is type-checked', () => {
    const checked = unindented(read('test/types/orms.test-d.ts'));
    const programs = programsOf(read('docs/guides/orms.md'));
    expect(programs.length).toBeGreaterThan(5);
    for (const program of programs) expect(checked).toContain(program);
  });
});
