/**
 * The strongly connected components with more than one node, or with a node that leads to itself (Tarjan, without
 * recursion). Nodes are the numbers below `count`.
 */
export function strongComponents(
  count: number,
  successors: (node: number) => readonly number[],
): readonly (readonly number[])[] {
  const components: number[][] = [];
  const order = new Int32Array(count).fill(-1);
  const lowest = new Int32Array(count);
  const isOnStack = new Uint8Array(count);
  const stack: number[] = [];
  let visited = 0;
  const enter = (node: number): { node: number; next: number; targets: readonly number[] } => {
    order[node] = lowest[node] = visited++;
    stack.push(node);
    isOnStack[node] = 1;
    return { node, next: 0, targets: successors(node) };
  };
  for (let root = 0; root < count; root++) {
    if (order[root] !== -1) continue;
    const path = [enter(root)];
    while (path.length > 0) {
      const frame = path.at(-1)!;
      const { node, targets } = frame;
      if (frame.next < targets.length) {
        const target = targets[frame.next++]!;
        if (order[target] === -1) path.push(enter(target));
        else if (isOnStack[target] === 1) lowest[node] = Math.min(lowest[node]!, order[target]!);
        continue;
      }
      path.pop();
      const parent = path.at(-1)?.node;
      if (parent !== undefined) lowest[parent] = Math.min(lowest[parent]!, lowest[node]!);
      if (lowest[node] !== order[node]) continue;
      const component: number[] = [];
      let member: number;
      do {
        member = stack.pop()!;
        isOnStack[member] = 0;
        component.push(member);
      } while (member !== node);
      if (component.length > 1 || targets.includes(node)) components.push(component);
    }
  }
  return components;
}
