/** Declarations and statements of PL/pgSQL functions `f(a int) returns int`. */
type Bodies = Readonly<Record<string, string>>;

/** `touch_now()` in every place that the language has for code. */
export const TOUCHING_BODIES: Bodies = {
  assign: 'declare x int; begin x := touch_now(); return x; end',
  assign_equals: 'declare x int; begin x = touch_now(); return x; end',
  argument: 'begin a := touch_now(); return a; end',
  subscript: 'declare x int[] := array[1, 2]; begin x[touch_now()] := 1; return 1; end',
  field: 'declare r people; begin r.id := touch_now(); return r.id; end',
  initial: 'declare x int := touch_now(); begin return x; end',
  initial_default: 'declare x constant int default touch_now(); begin return x; end',
  if_condition: 'begin if touch_now() = 1 then return 1; end if; return 2; end',
  if_then: 'begin if a = 1 then perform touch_now(); end if; return 2; end',
  elsif_condition: 'begin if a = 5 then return 1; elsif touch_now() = 1 then return 3; end if; return 2; end',
  elsif_then: 'begin if a = 5 then return 1; elsif a = 1 then perform touch_now(); end if; return 2; end',
  else_branch: 'begin if a = 5 then return 1; else perform touch_now(); end if; return 2; end',
  case_expression: 'begin case touch_now() when 1 then return 1; else return 2; end case; end',
  case_when: 'begin case a when touch_now() then return 1; else return 2; end case; end',
  case_then: 'begin case a when 1 then perform touch_now(); else return 2; end case; return 1; end',
  case_else: 'begin case a when 7 then return 1; else perform touch_now(); end case; return 1; end',
  searched_case: 'begin case when touch_now() = 1 then return 1; else return 2; end case; end',
  loop_body: 'begin loop perform touch_now(); exit; end loop; return 1; end',
  exit_when: 'begin loop exit when touch_now() = 1; end loop; return 1; end',
  continue_when: 'begin for i in 1..1 loop continue when touch_now() = 1; end loop; return 1; end',
  while_condition: 'declare n int := 0; begin while n < touch_now() loop n := n + 1; end loop; return 1; end',
  while_body:
    'declare n int := 0; begin while n < 1 loop n := n + 1; perform touch_now(); end loop; return 1; end',
  for_from: 'begin for i in touch_now()..2 loop null; end loop; return 1; end',
  for_to: 'begin for i in 1..touch_now() loop null; end loop; return 1; end',
  for_by: 'begin for i in 1..2 by touch_now() loop null; end loop; return 1; end',
  for_body: 'begin for i in 1..2 loop perform touch_now(); end loop; return 1; end',
  for_query: 'declare r record; begin for r in select touch_now() loop null; end loop; return 1; end',
  for_query_body:
    'declare r record; begin for r in select 1 loop perform touch_now(); end loop; return 1; end',
  for_dynamic:
    "declare r record; begin for r in execute 'select touch_now()' loop null; end loop; return 1; end",
  for_cursor: 'declare c cursor for select touch_now(); begin for r in c loop null; end loop; return 1; end',
  foreach: 'declare x int; begin foreach x in array array[touch_now()] loop null; end loop; return 1; end',
  foreach_body:
    'declare x int; begin foreach x in array array[1] loop perform touch_now(); end loop; return 1; end',
  returned: 'begin return touch_now(); end',
  raised: "begin raise notice '%', touch_now(); return 1; end",
  raise_option: "begin raise notice 'x' using hint = touch_now()::text; return 1; end",
  assert_condition: 'begin assert touch_now() = 1; return 1; end',
  assert_message: 'begin assert a = 1, touch_now()::text; perform touch_now(); return 1; end',
  performed: 'begin perform touch_now() from plain limit 1; return 1; end',
  selected: 'declare x int; begin select touch_now() into x; return x; end',
  selected_strict: 'declare x int; begin select 1 into strict x where touch_now() = 1; return x; end',
  view: 'declare x int; begin select t.touch into x from touching t limit 1; return x; end',
  table: 'begin perform sum(t.touch) from (table touching) t; return 1; end',
  written: "begin update people set name = 'x' where touch_now() = 1; return 1; end",
  trigger: 'begin insert into triggered (id) values (4711); return 1; end',
  executed: "begin execute 'select touch_now()'; return 1; end",
  executed_using: "declare x int; begin execute 'select $1' into x using touch_now(); return x; end",
  opened: 'declare c refcursor; begin open c for select touch_now(); fetch c into a; close c; return 1; end',
  opened_dynamic:
    "declare c refcursor; begin open c for execute 'select touch_now()'; fetch c into a; return 1; end",
  handler:
    'begin begin perform 1 / 0; exception when division_by_zero then perform touch_now(); end; return 1; end',
  guarded: 'begin begin perform touch_now(); exception when division_by_zero then null; end; return 1; end',
  nested: 'begin declare x int; begin x := touch_now(); end; return 1; end',
  labelled:
    '<<outside>> declare x int; begin <<inside>> begin x := touch_now(); end inside; return 1; end outside',
  domain: "declare x touching_domain; begin x := 'a'; return 1; end",
  deep_domain: "declare x touching_domain[]; begin x := array['a']; return 1; end",
  cast: "begin perform 'x'::touching_domain; return 1; end",
  operator: 'begin if a <-> 1 then return 1; end if; return 2; end',
  attribute: 'begin perform p.touched_name from people p; return 1; end',
  other_function: 'begin return touching_returned(a); end',
  comment: 'begin perform /* touch( */ touch_now(); return 1; end',
  set_session: "begin set app.touched = 'yes'; return 1; end",
  set_config: "begin perform set_config('app.touched', 'yes', false); return 1; end",
};

export const CLEAN_BODIES: Bodies = {
  computed:
    'declare x numeric(10, 2) := 1; y text[]; begin x := round(x * a, 2); y[a] := lower($$X$$); return x; end',
  queried:
    'declare x int; r record; p plain%rowtype; n plain.name%type; begin select count(*) into x from plain where id > a; for r in select id, name from simple loop x := x + r.id; end loop; select * into p from plain where id = a; n := p.name; return x; end',
  branching:
    "begin if a = 1 then return 1; elsif a in (2, 3) then return 2; else raise exception 'no: %', a using errcode = '22023'; end if; end",
  looping:
    'declare n int := 0; begin while n < 3 loop n := n + 1; continue when n = 2; end loop; for i in reverse 3..1 by 1 loop n := n + i; end loop; foreach n in array array[1, 2] loop null; end loop; return n; end',
  guarded:
    'declare n int; begin begin n := 1 / (a - a); exception when division_by_zero or data_exception then get diagnostics n = row_count; end; return n; exception when others then return 0; end',
  tenant: "begin return coalesce(nullif(current_setting('app.tenant', true), ''), '0')::int; end",
};

function made(prefix: string, bodies: Bodies): string {
  return Object.entries(bodies)
    .map(
      ([name, body]) =>
        `create function ${prefix}_${name}(a int) returns int language plpgsql as $body$ ${body} $body$;`,
    )
    .join('\n');
}

/** After `SCHEMA`. */
export const FUNCTIONS_SCHEMA = `
create function touched_name(people) returns text immutable language plpgsql as $$ begin perform touch(); return 'x'; end $$;
create function operator_touching(int, int) returns boolean immutable language plpgsql as $$ begin perform touch(); return true; end $$;
create operator <-> (leftarg = int, rightarg = int, function = operator_touching);
${made('touching', TOUCHING_BODIES)}
${made('clean', CLEAN_BODIES)}

create function sql_touching() returns int immutable language sql as $$ select 1; select touch() $$;
create function sql_tenant() returns text stable language sql as $$ select nullif(current_setting('app.tenant', true), '') $$;
create table secured_sql (id int, tenant text);
alter table secured_sql enable row level security;
create policy by_tenant on secured_sql using (tenant = (select sql_tenant()));
create function atomic_clean() returns bigint stable language sql begin atomic select count(*) from plain; select 1::bigint; end;
create function returning_clean() returns text stable language sql return upper(current_setting('app.tenant', true));
create function atomic_touching() returns int stable language sql begin atomic select 1; select touch(); end;
create function atomic_touching_view() returns int stable language sql begin atomic select touch from touching; end;
create function atomic_writing() returns bigint language sql begin atomic insert into people (id) values (2); select 1::bigint; end;
create function default_touching(a int default touch()) returns int immutable language sql as $$ select 1 $$;
create function domain_argument(a touching_domain) returns int immutable language sql as $$ select 1 $$;
create schema hidden;
create view hidden.plain as select touch() as id;
create function own_path() returns bigint stable language sql set search_path to hidden, public as $$ select count(id) from plain $$;
create function mutual_b(int) returns int immutable language plpgsql as $$ begin return 1; end $$;
create function mutual_a(a int) returns int immutable language plpgsql as $$ begin if a > 3 then return touch(); end if; return mutual_b(a + 1); end $$;
create or replace function mutual_b(a int) returns int immutable language plpgsql as $$ begin return mutual_a(a + 1); end $$;
create function recursive(a int) returns int language plpgsql as $$ begin if a > 0 then return recursive(a - 1); end if; insert into people values (a); return 1; end $$;
create function sets_local() returns text language plpgsql as $$ begin set local work_mem = '1MB'; return set_config('app.other', 'x', true); end $$;
create function sets_session() returns text language sql as $$ select set_config('app.touched', 'yes', false) $$;
create function locks_session() returns void language sql as $$ select pg_advisory_lock(1) $$;
create function makes_temporary() returns void language plpgsql as $$ begin create temp table temporary_one (id int); end $$;
create function skips_locked() returns int language sql as $$ select id from plain for update skip locked limit 1 $$;

create table stamped (id int primary key, name text, updated_at timestamptz, was text);
create function stamp() returns trigger language plpgsql as $$
begin
  new.updated_at := now();
  if tg_op = 'UPDATE' and old.name is distinct from new.name then new.was = old.name; end if;
  return new;
end $$;
create trigger stamp before insert or update on stamped for each row execute function stamp();
create table audited (id int);
create table audits (id bigint generated always as identity, what jsonb, at timestamptz default now());
create function audit() returns trigger language plpgsql security definer set search_path to public, pg_temp as $$
begin
  insert into audits (what) values (to_jsonb(old));
  return null;
end $$;
create trigger audit after delete on audited for each row execute function audit();
insert into audited values (1);
create table touched_when (id int);
create trigger touched_when before insert on touched_when for each row when (touch() = 1) execute function stamp();
`;
