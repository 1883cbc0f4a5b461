"""The part of the log's script that tallies: a row of figures per unit and series, brought up to date as it appends."""

from typing import Final

import numpy as np

TTL_SECONDS = 90 * 24 * 3600  # after the last write
UNKNOWN: Final = 0xFFFF  # acts before the exposure, where nothing was known
CAPTURED = ("exposed", "known", "lambda2", "propensity", "seconds", "rating_sum", "revenue")
BEFORE = ("before_clicks", "before_carts", "before_purchases", "before_ratings")
COUNTS = (
    *("version", "lists", "empty", "failures", "clicks", "carts", "purchases", "ratings"),
    *("clicks_a", "clicks_b", "purchases_a", "purchases_b"),
)
ROW: Final = np.dtype(
    [*((name, "<f8") for name in CAPTURED), *((name, "<u2") for name in BEFORE), *((name, "<u4") for name in COUNTS)]
)
"""
A row's figures, little-endian and unaligned; the variant's name and a zero follow, and, of an interleaving, the newest
list: when, teams, items. exposed: the earliest exposure, list or failure. known: the exposure that the figures of what
came before are of: the earliest; infinite without one. lambda2: NaN of an interleaving.
"""
FIELDS = (*CAPTURED, *BEFORE, *COUNTS, "variant", "newest")
FORMAT = "<" + "d" * len(CAPTURED) + "H" * len(BEFORE) + "I4" * len(COUNTS) + "s"

# Stands in the log's script between finding out what is new and writing it: KEYS, ARGV, `answer` are its own. ARGV[3]:
# which events concern a tally; per series "KEY:NUMBER" the key of its rows, as an index into KEYS, and the window;
# which series are open for outcomes; per variant of a series the key of its items. All rows are read before anything is
# written; PFADD, which alone could fail then, comes first and may be repeated.
TALLY = (
    f"local FORMAT, UNKNOWN, TTL = '{FORMAT}', {UNKNOWN}, {TTL_SECONDS}\n"
    f"local {', '.join(name.upper() for name in FIELDS)} = {', '.join(map(str, range(1, len(FIELDS) + 1)))}\n"
    """
local plan, rows, shown = cjson.decode(ARGV[3]), {}, {}
for name, series in pairs(plan.series) do
  rows[name] = {}
  if series.window == cjson.null then series.window = math.huge end
end

local function unpacked(content)
  local row = {struct.unpack(FORMAT, content)}
  row[NEWEST] = string.sub(content, row[NEWEST])
  return row
end

local function row_of(name, unit)
  local row = rows[name][unit]
  if row == nil then
    local content = redis.call('HGET', KEYS[plan.series[name].units], unit)
    row = content and unpacked(content)
    rows[name][unit] = row
  end
  return row
end

local function new()
  local row = {}
  for i = 1, VARIANT - 1 do row[i] = 0 end
  for i = BEFORE_CLICKS, BEFORE_RATINGS do row[i] = UNKNOWN end
  row[EXPOSED], row[KNOWN], row[NEWEST] = math.huge, math.huge, ''
  return row
end

local function counts(row, at, name)
  return at >= row[EXPOSED] and at <= row[EXPOSED] + plan.series[name].window
end

local function show(row, key, items, seconds)
  row[LISTS] = row[LISTS] + 1
  if #items == 0 then row[EMPTY] = row[EMPTY] + 1 end
  if seconds ~= cjson.null then row[SECONDS] = row[SECONDS] + seconds end
  shown[key] = shown[key] or {}
  for _, item in ipairs(items) do shown[key][item] = true end
end

local function keep(row, at, items, teams)
  if row[NEWEST] == '' or at >= cmsgpack.unpack(row[NEWEST])[1] then
    row[NEWEST] = cmsgpack.pack({at, teams, items})
  end
end

local function serve(kind, unit, at, served)
  local name = served[1] .. ':' .. served[3]
  local row = row_of(name, unit)
  if not row then
    row = new()
    rows[name][unit] = row
  end
  row.changed = true
  if at < row[EXPOSED] then
    row[EXPOSED], row[VERSION], row[VARIANT], row[PROPENSITY] = at, served[2], served[4], served[6]
    row[LAMBDA2] = #served[5] == 1 and served[5][1] or 0 / 0
  end
  if kind == 'exposure' then
    if at < row[KNOWN] then
      row[KNOWN] = at
      for i = 1, 4 do
        row[BEFORE_CLICKS + i - 1] = served[11] == cjson.null and UNKNOWN or math.min(served[11][i], UNKNOWN - 1)
      end
    end
    return
  end
  if not counts(row, at, name) then
    -- after the window: no part of what is compared
  elseif kind == 'failure' then
    row[FAILURES] = row[FAILURES] + 1
  else
    show(row, plan.items[name .. ':' .. served[4]], served[8], served[10])
  end
  if kind == 'list' and served[9] ~= '' then keep(row, at, served[8], served[9]) end
end

local function credit(row, item, first)
  local newest = cmsgpack.unpack(row[NEWEST])
  for i, shown_item in ipairs(newest[3]) do
    if shown_item == item then
      local column = ({a = first, b = first + 1})[string.sub(newest[2], i, i)]
      if column then row[column] = row[column] + 1 end
      return
    end
  end
end

local COLUMNS = {click = CLICKS, cart = CARTS, purchase = PURCHASES, rating = RATINGS}
local CREDITS = {click = CLICKS_A, purchase = PURCHASES_A}
local SUMS = {purchase = REVENUE, rating = RATING_SUM}
local function act(kind, unit, at, value, item)
  for _, name in ipairs(plan.open) do
    local row = row_of(name, unit)
    if row and counts(row, at, name) then
      local column, sum = COLUMNS[kind], SUMS[kind]
      row[column], row.changed = row[column] + 1, true
      if sum and value ~= cjson.null then row[sum] = row[sum] + value end
      if CREDITS[kind] and row[NEWEST] ~= '' then credit(row, item, CREDITS[kind]) end
    end
  end
end

for _, i in ipairs(plan.events) do
  if answer[i] == 1 then
    local event = cjson.decode(ARGV[2 * i + 3])
    if event[8] then
      serve(event[4], event[2], event[6], event[8])
    else
      act(event[4], event[2], event[6], event[5], event[3])
    end
  end
end

for key, items in pairs(shown) do
  local part = {}
  for item in pairs(items) do
    part[#part + 1] = item
    if #part == 5000 then
      redis.call('PFADD', KEYS[key], unpack(part))
      part = {}
    end
  end
  redis.call('PFADD', KEYS[key], unpack(part))
  redis.call('EXPIRE', KEYS[key], TTL)
end
for name, units in pairs(rows) do
  local key, written = KEYS[plan.series[name].units], false
  for unit, row in pairs(units) do
    if row and row.changed then
      redis.call('HSET', key, unit, struct.pack(FORMAT, unpack(row, 1, VARIANT)) .. row[NEWEST])
      written = true
    end
  end
  if written then redis.call('EXPIRE', key, TTL) end
end
"""
)
