-- Notifies graphward of changes to the table of tenants, so that it reads them at once: `listen = "tenants"`.
--
-- There is one notification for each statement, whatever the number of its rows, and one for each transaction. It has no
-- content: graphward reads the table again. Run this file as the owner of the table. The role of graphward needs no more than
-- SELECT on it, UPDATE on the columns that `update` sets, and what `upsert` and `withdraw` need.
--
-- If the app often updates other columns, such as a counter, name those that graphward reads:
-- AFTER INSERT OR UPDATE OF tenant_id, access_token, phone_number_id, waba_id, is_active OR DELETE OR TRUNCATE

CREATE OR REPLACE FUNCTION graphward_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('tenants', '');
    RETURN NULL;
END
$$;

DROP TRIGGER IF EXISTS graphward_notify ON tenant_whatsapp_config;
CREATE TRIGGER graphward_notify
    AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON tenant_whatsapp_config
    FOR EACH STATEMENT EXECUTE FUNCTION graphward_notify();
