-- SPDX-License-Identifier: MIT
-- A table with an index, filled in one transaction, then changed.
PRAGMA journal_mode = MEMORY;
CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, price REAL, shelf INTEGER);
CREATE INDEX item_shelf ON item (shelf, name);
BEGIN;
WITH RECURSIVE count (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM count WHERE n < 60000)
INSERT INTO item SELECT n, printf('item %08x', (n * 2654435761) & 4294967295), n * 0.25, (n * 7919) % 500 FROM count;
UPDATE item SET price = price * 2 WHERE shelf % 5 = 0;
DELETE FROM item WHERE id % 10 = 3;
COMMIT;
SELECT count(*), sum(price) FROM item;
