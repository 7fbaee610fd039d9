/** Of the module that is installed as `tedious`. */
export { Connection, Request } from 'tedious';
