-- SPDX-License-Identifier: Apache-2.0
-- One database per service: nobody can join another's tables. Run once, when PostgreSQL's volume is new.
CREATE DATABASE inventory;
CREATE DATABASE lifecycle;
CREATE DATABASE ipam;
CREATE DATABASE network;
CREATE DATABASE telemetry;
