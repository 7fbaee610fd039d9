import type { Socket } from 'node:net';
import type { Framing, ProtocolMessage } from './protocol-splitter.ts';
import { ProtocolSplitter } from './protocol-splitter.ts';

/** How both sides are told that the connection is over: with a reset, or with an orderly end. */
export type Ending = 'reset' | 'fin';

/** Forwards so many bytes of the message, its type and length included, and then ends the connection. */
export interface CutInside {
  readonly bytes: number;
  readonly by: Ending;
}

/**
 * What is done with a message: `drop` swallows it, `cut-before` and `cut-after` reset the connection before or after
 * it was forwarded, `hold` keeps it and all that follows until the connection's `release()`.
 */
export type Verdict = 'pass' | 'drop' | 'cut-before' | 'cut-after' | 'hold' | CutInside;

export interface PipeOptions {
  readonly from: Socket;
  readonly to: Socket;
  readonly framing: () => Framing;
  readonly judge: (message: ProtocolMessage) => Verdict;
  /** How many of these bytes may still go out before the connection is to be cut; undefined for all of them. */
  readonly allowance: (bytes: Buffer) => number | undefined;
  readonly latencyMillis: () => number;
  readonly cut: (by: Ending) => void;
}

/** `cut`: how the connection is ended behind these bytes; null if it goes on. */
type Delivery = { readonly bytes: Buffer; readonly cut: Ending | null } | 'end';

/** One direction of a proxied connection. */
export class ProxyPipe {
  readonly #options: PipeOptions;
  readonly #splitter: ProtocolSplitter;
  #waiting: ProtocolMessage[] = [];
  #deliveries: { readonly due: number; readonly delivery: Delivery }[] = [];
  #timer: NodeJS.Timeout | undefined;
  #holding = false;
  #blackhole = false;
  #ended = false;
  #closed = false;
  #swallowing = false;

  constructor(options: PipeOptions) {
    this.#options = options;
    this.#splitter = new ProtocolSplitter(options.framing);
    options.from.on('data', (chunk) => {
      this.#receive(chunk);
    });
    options.from.on('end', () => {
      this.#ended = true;
      if (!this.#holding) this.#deliverEnd();
    });
    options.to.on('drain', () => {
      this.#setFlow();
    });
  }

  /** While it is on nothing is read any more, and the sender does not learn it. Afterwards all of it arrives. */
  set blackhole(on: boolean) {
    this.#blackhole = on;
    this.#setFlow();
  }

  /** Forwards the message that is held and asks again from the next one on. */
  release(): void {
    if (!this.#holding) return;
    this.#holding = false;
    const [first, ...rest] = this.#waiting;
    this.#waiting = rest;
    if (first !== undefined) this.#forward([first.bytes], null);
    this.#judgeWaiting();
    if (this.#ended && !this.#isHolding()) this.#deliverEnd();
    this.#setFlow();
  }

  /** From now on whatever comes is read and thrown away: the other side is gone, and this one does not notice. */
  swallow(): void {
    this.#swallowing = true;
    this.close();
    this.#options.from.resume();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#deliveries = [];
    this.#waiting = [];
  }

  #isHolding(): boolean {
    return this.#holding;
  }

  #receive(chunk: Buffer): void {
    if (this.#closed) return;
    if (this.#holding) {
      for (const message of this.#splitter.push(chunk)) this.#waiting.push(message);
      return;
    }
    // One write for all messages of a chunk that may pass.
    let passed: Buffer[] = [];
    for (const message of this.#splitter.push(chunk)) {
      if (this.#isHolding()) {
        this.#waiting.push(message);
        continue;
      }
      const verdict = this.#options.judge(message);
      if (verdict === 'pass') passed.push(message.bytes);
      else if (verdict !== 'drop') {
        this.#forward(passed, null);
        passed = [];
        if (this.#apply(message, verdict)) return;
      }
    }
    this.#forward(passed, null);
    this.#setFlow();
  }

  #judgeWaiting(): void {
    while (this.#waiting.length > 0 && !this.#isHolding() && !this.#closed) {
      const message = this.#waiting.shift()!;
      const verdict = this.#options.judge(message);
      if (verdict === 'pass') this.#forward([message.bytes], null);
      else if (verdict === 'hold') {
        this.#holding = true;
        this.#waiting.unshift(message);
      } else if (verdict !== 'drop') this.#apply(message, verdict);
    }
  }

  /** True if the connection is cut. */
  #apply(message: ProtocolMessage, verdict: 'cut-before' | 'cut-after' | 'hold' | CutInside): boolean {
    switch (verdict) {
      case 'hold':
        this.#holding = true;
        this.#waiting.push(message);
        return false;
      case 'cut-before':
        this.#forward([], 'reset');
        return true;
      case 'cut-after':
        this.#forward([message.bytes], 'reset');
        return true;
      default:
        this.#forward([message.bytes.subarray(0, verdict.bytes)], verdict.by);
        return true;
    }
  }

  #forward(messages: Buffer[], cut: Ending | null): void {
    if (this.#closed || (messages.length === 0 && cut === null)) return;
    const bytes = messages.length === 1 ? messages[0]! : Buffer.concat(messages);
    const allowed = this.#options.allowance(bytes);
    if (allowed === undefined) this.#deliver({ bytes, cut });
    else this.#deliver({ bytes: bytes.subarray(0, allowed), cut: 'reset' });
  }

  /** A sender that dies in the middle of a message leaves its beginning behind. */
  #deliverEnd(): void {
    const rest = this.#splitter.takeIncomplete();
    if (rest.length > 0) this.#forward([rest], null);
    this.#deliver('end');
  }

  #deliver(delivery: Delivery): void {
    if (this.#closed) return;
    const latency = this.#options.latencyMillis();
    if (latency === 0 && this.#deliveries.length === 0) {
      this.#write(delivery);
      return;
    }
    this.#deliveries.push({ due: performance.now() + latency, delivery });
    this.#schedule();
  }

  #schedule(): void {
    const [next] = this.#deliveries;
    if (next === undefined || this.#closed) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(
      () => {
        const now = performance.now();
        while (!this.#closed && this.#deliveries[0] !== undefined && this.#deliveries[0].due <= now + 0.5) {
          this.#write(this.#deliveries.shift()!.delivery);
        }
        this.#schedule();
      },
      Math.max(0, next.due - performance.now()),
    );
  }

  #write(delivery: Delivery): void {
    const { to, cut } = this.#options;
    if (delivery === 'end') {
      to.end();
    } else if (delivery.cut === null) {
      to.write(delivery.bytes);
    } else {
      const by = delivery.cut;
      // Nothing may follow; and the reset comes when the kernel has the bytes, or it would throw them away.
      this.close();
      if (delivery.bytes.length === 0) cut(by);
      else
        to.write(delivery.bytes, () => {
          cut(by);
        });
    }
  }

  #setFlow(): void {
    if (this.#swallowing) return;
    const { from, to } = this.#options;
    if (this.#blackhole || this.#holding || to.writableNeedDrain) from.pause();
    else from.resume();
  }
}
