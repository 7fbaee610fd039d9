/** The module that is installed as `tedious`, and its own Connection. */
export * as tedious from 'tedious';
export { Connection } from 'tedious';
