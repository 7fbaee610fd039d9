import type { ProxyConnection, TcpProxy, Verdict } from './tcp-proxy.ts';

export interface WantedMessage {
  readonly from: 'client' | 'server';
  /** Letter of the protocol. */
  readonly type: string;
  /** In the body, as text. Default: anything. */
  readonly text?: string;
  /** How many such messages pass before. Default 0. */
  readonly after?: number;
}

/** Does this to the next message of that kind, once. Resolves with the connection on which it came. */
export async function onMessage(
  proxy: TcpProxy,
  wanted: WantedMessage,
  act: Verdict | ((connection: ProxyConnection) => Verdict),
): Promise<ProxyConnection> {
  return await onMessageOfAny([proxy], wanted, typeof act === 'function' ? (_proxy, from) => act(from) : act);
}

/** The same for whichever of these it comes to first; not known beforehand where one of them will be promoted. */
export async function onMessageOfAny(
  proxies: readonly TcpProxy[],
  { from, type: wantedType, text = '', after = 0 }: WantedMessage,
  act: Verdict | ((proxy: TcpProxy, connection: ProxyConnection) => Verdict),
): Promise<ProxyConnection> {
  const hook = from === 'client' ? 'onFrontendMessage' : 'onBackendMessage';
  return await new Promise((resolve) => {
    let passed = 0;
    for (const proxy of proxies) {
      proxy[hook] = (type, body, connection) => {
        if (type !== wantedType || !body.includes(text)) return undefined;
        if (passed++ < after) return undefined;
        for (const each of proxies) each[hook] = undefined;
        resolve(connection);
        return typeof act === 'function' ? act(proxy, connection) : act;
      };
    }
  });
}

/** From now on swallows what the server sends to this client: it did its work, but the answer never arrives. */
export function loseAnswers(proxy: TcpProxy, connection: ProxyConnection): Verdict {
  proxy.onBackendMessage = (_type, _body, from) => (from === connection ? 'drop' : undefined);
  return 'drop';
}

/** Swallows all that clients send from now on. Resolves when the first of it has come. */
export async function loseQuestions(proxy: TcpProxy): Promise<void> {
  await new Promise<void>((resolve) => {
    proxy.onFrontendMessage = () => {
      resolve();
      return 'drop';
    };
  });
}
