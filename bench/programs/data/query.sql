-- SPDX-License-Identifier: MIT
-- Scans, joins, groups and sorts over the table of insert.sql.
SELECT shelf, count(*), round(avg(price), 3) FROM item GROUP BY shelf HAVING avg(price) > 100 ORDER BY 3 LIMIT 20;
SELECT a.name FROM item a JOIN item b ON b.id = a.id + 1 WHERE b.shelf < 40 AND a.name LIKE '%f%' ORDER BY a.name DESC LIMIT 20;
SELECT count(DISTINCT substr(name, 6, 3)) FROM item;
SELECT name FROM item ORDER BY substr(name, 9), price LIMIT 20;
WITH RECURSIVE walk (id, steps) AS (SELECT 1, 0 UNION ALL SELECT (id * 31 + 7) % 60000, steps + 1 FROM walk WHERE steps < 40000)
SELECT sum(price) FROM walk JOIN item USING (id);
