/**
 * `holdfast/register`: puts the `Client` and `Pool` of `holdfast/pg` in place of pg's own, in the pg that is installed
 * beside holdfast. For code that can't be edited: `node --require holdfast/register app.js`, or `--import`.
 *
 * Built as CommonJS alone. As an ES module it would evaluate pg's ES module, which takes the classes for its named
 * exports at that moment, before they are replaced.
 */
import { otherPg, wasLoadedBefore } from './pg/installed-pg.ts';
// By its public name, so that it is the same copy that the application gets.
import { Client, Pool } from 'holdfast/pg';
import { replaceClasses } from './pg/replace-classes.ts';
import { pg } from './pg/stock-pg.ts';

replaceClasses(pg, { Client, Pool }, { otherPg, wasLoadedBefore });
