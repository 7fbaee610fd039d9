/** Where a command writes to. */
export interface CliOutput {
  out(text: string): void;
  err(text: string): void;
}
